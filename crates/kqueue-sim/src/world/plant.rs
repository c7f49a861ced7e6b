//! Defects that are planted, for the test of the simulator itself.
//!
//! Must not: let the oracle know.

use kqueue_broker::SessionId;

use super::World;
use crate::conn::{Conn, Role};
use crate::scenario::Sabotage;

impl World {
    /// What the server is to do wrong at its start.
    pub(super) fn plant(&mut self) {
        let requests: &[&str] = match self.scenario.sabotage {
            Some(Sabotage::LosesDead) => &["purge jobs dead\r\n"],
            Some(Sabotage::RaisesDead) => &["kick jobs all\r\n"],
            Some(Sabotage::Resumes) => &["resume jobs\r\n", "resume tasks\r\n"],
            _ => return,
        };
        // A client of whom nobody knows.
        let mut conn = Conn::new(u64::MAX, Role::Steward, self.scenario.extras);
        self.broker.handle_connect(SessionId(conn.id));
        for request in requests {
            conn.input.extend_from_slice(request.as_bytes());
        }
        for _ in 0..100 {
            conn.session.feed(&mut conn.input);
            self.broker.execute(self.now(), &mut conn.session);
        }
        self.broker.handle_disconnect(self.now(), SessionId(conn.id));
    }
}
