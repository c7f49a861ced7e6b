//! Tells the extension which PHP it is compiled for.
//!
//! `php82`, `php83`, ... are set for that version and every later one, `php_zts` for a thread-safe PHP. The PHP asked is the one that
//! ext-php-rs binds against: `$PHP`, else `php` on the path.

use std::error::Error;

use ext_php_rs_build::{ApiVersion, PHPInfo, find_php};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    ext_php_rs_build::emit_rerun_if_env_changed();
    ext_php_rs_build::emit_check_cfg();

    let php = PHPInfo::get(&find_php()?)?;
    let version = ApiVersion::try_from(php.zend_version()?)?;
    ext_php_rs_build::emit_php_cfg_flags(version);
    if php.thread_safety()? {
        println!("cargo:rustc-cfg=php_zts");
    }

    // PHP provides its own symbols when it loads the module; only Apple's linker insists on seeing them earlier.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos") {
        println!("cargo:rustc-link-arg-cdylib=-Wl,-undefined,dynamic_lookup");
    }
    Ok(())
}
