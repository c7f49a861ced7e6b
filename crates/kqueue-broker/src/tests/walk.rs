//! Walks over the items of a queue while others use it.

use super::*;

/// Somebody else, who is served at once.
struct Other(Session);

impl Other {
    fn new(server: &mut Server) -> Self {
        server.broker.handle_connect(SessionId(2));
        Self(Session::new(SessionId(2), Limits { item_bytes: 4096, ..Limits::default() }))
    }

    fn say(&mut self, server: &mut Server, bytes: &str) -> String {
        let mut input = BytesMut::from(bytes);
        let mut output = Output::default();
        loop {
            while self.0.feed(&mut input) || self.0.wants_broker() {
                server.broker.execute(NOW, &mut self.0);
            }
            self.0.encode(&server.broker.progress(), &mut output);
            if let Some(job) = server.broker.poll_job(NOW) {
                server.broker.handle_done(NOW, job.id, Ok(()));
            } else if server.broker.poll_event().is_some() {
                self.0.set_ready();
                server.session.set_ready();
            } else {
                break;
            }
        }
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        String::from_utf8(bytes).expect("ascii")
    }

    /// Takes what there is and buries it; answers how many.
    fn bury_all(&mut self, server: &mut Server) -> usize {
        let told = self.say(server, "reserve 1000 0 0 q\r\n");
        let ids = told.lines().filter_map(|line| line.strip_prefix("ITEM q ")?.split(' ').next());
        for id in ids.clone() {
            assert_eq!(self.say(server, &format!("bury q {id} 0\r\n\r\n")), "OK\r\n");
        }
        ids.count()
    }
}

/// What fails again at once is not kicked again and again by the same command, wherever dead letters are and whatever else is there.
#[test]
fn a_kick_of_all_ends_although_what_it_kicks_dies_again_meanwhile() {
    const ITEMS: usize = 250;
    const OTHERS: usize = 300;
    let limits = EngineLimits { max_open_per_queue: 1000, ..EngineLimits::default() };
    for is_elsewhere in [false, true] {
        let mut table = ConfigTable::default();
        if is_elsewhere {
            let dead = Some(Some((*b"dead").into()));
            let queue = QueueOverrides { dead_letter_queue: dead, ..QueueOverrides::default() };
            table.named.insert((*b"q").into(), queue);
        }
        let mut server = Server::new();
        server.broker = boot_within(limits, Superblock::default(), table, &BTreeMap::new());
        server.broker.handle_connect(SessionId(1));
        for _ in 0..ITEMS {
            server.send(b"put q 1\r\nx\r\n");
        }
        for _ in 0..OTHERS {
            server.send(b"put dead 1\r\nx\r\n");
        }
        server.settle();
        let mut other = Other::new(&mut server);
        assert_eq!(other.bury_all(&mut server), ITEMS);
        server.input.extend_from_slice(b"kick q all\r\n");
        let mut died_again = 0;
        while server.session.feed(&mut server.input) || server.session.wants_broker() {
            server.broker.execute(NOW, &mut server.session);
            died_again += other.bury_all(&mut server);
            assert!(died_again <= ITEMS, "each of them once");
        }
        assert_eq!(died_again, ITEMS);
        assert_eq!(other.say(&mut server, "purge q dead\r\n"), format!("OK {ITEMS}\r\n"));
        assert_eq!(server.turn(), format!("OK {ITEMS}\r\n"));
    }
}
