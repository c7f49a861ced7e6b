//! Names of queues.

use super::*;

fn told(request: &str) -> String {
    World::new().say(1, request)
}

#[test]
fn a_name_that_cannot_be_is_told_by_what_would_make_it_and_absent_for_the_rest() {
    for name in ["a.b", "a~b"] {
        let byte = &name[1..2];
        let refused = format!("CLIENT_ERROR '{byte}' in a queue name: '{name}'\nclosed");
        for makes in ["set NAME 0 0 1\nx\n", "get NAME\n", "get NAME/peek\n", "monitor NAME 1\n"] {
            assert_eq!(told(&makes.replace("NAME", name)), refused, "{makes}");
        }
        for (request, absent) in [
            ("delete NAME\n", "DELETED\n".into()),
            ("flush NAME\n", "END\n".into()),
            ("flush_expired NAME\n", "0\n".into()),
            ("dump_stats NAME\n", format!("queue '{name}' {{\n  \n}}\nEND\n")),
        ] {
            let request = request.replace("NAME", name);
            let absent: String = absent;
            assert_eq!(told(&request), absent, "{request}");
        }
    }
}

#[test]
fn a_slash_is_an_option_in_get_and_part_of_the_name_elsewhere() {
    assert_eq!(told("get a/b\n"), "END\n");
    let refused = "CLIENT_ERROR '/' in a queue name: 'a/b'\nclosed";
    assert_eq!(told("set a/b 0 0 1\nx\n"), refused);
    assert_eq!(told("delete a/b\nflush a/b\n"), "DELETED\nEND\n");
    let empty = "CLIENT_ERROR empty queue name\n";
    assert_eq!(told("get ///\nget q\n"), format!("{empty}END\n"), "it stays open");
    assert_eq!(told("get /open\nget q\n"), format!("{empty}closed"));
}

#[test]
fn plus_alone_is_refused_and_a_child_needs_a_master() {
    for name in ["+", "++"] {
        for request in ["get NAME\n", "set NAME 0 0 1\nx\n"] {
            let told = told(&(request.replace("NAME", name) + "version\n"));
            assert!(told.starts_with("CLIENT_ERROR "), "{told}");
            assert!(told.ends_with("VERSION 1.2.3\n"), "it stays open: {told}");
        }
    }
    // Kestrel has a queue with the name "" for this one.
    let told = told("set +x 0 0 1\ny\n");
    assert!(told.starts_with("CLIENT_ERROR ") && told.ends_with("closed"), "{told}");
}

#[test]
fn case_and_almost_every_other_byte_matter() {
    let mut world = World::new();
    for name in ["q", "Q", "a:b", "$%_-", "[]{}", "a+b+c", "\u{e4}"] {
        world.put(name, &[&name.len().to_string()]);
    }
    for name in ["q", "Q", "a:b", "$%_-", "[]{}", "a+b+c", "\u{e4}"] {
        let body = name.len().to_string();
        assert_eq!(
            world.say(1, &format!("get {name}\nget {name}\n")),
            value(name, &body) + "END\n"
        );
    }
}

#[test]
fn a_name_is_at_most_250_bytes_long() {
    let longest = "n".repeat(250);
    let mut world = World::new();
    world.put(&longest, &["x"]);
    assert_eq!(world.say(1, &format!("get {longest}\n")), value(&longest, "x"));
    let told = told(&format!("get {longest}n\n"));
    assert!(told.starts_with("CLIENT_ERROR ") && told.ends_with("closed"), "{told}");
}
