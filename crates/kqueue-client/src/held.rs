//! API draft.
use bytes::Bytes;

use crate::error::{Error, ErrorKind};

/// One reserved item. Dropped unsettled, it goes back to its queue (an exchange on its connection, bounded by the timeout; else the connection is closed).
pub struct Held {
    queue: Bytes,
    body: Bytes,
    id: String,
}

impl Held {
    /// The queue it came from.
    #[must_use]
    pub fn queue(&self) -> &[u8] {
        &self.queue
    }
    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
    /// The server's id in decimal, or a local one over Kestrel's commands; never empty.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
    /// Deliveries so far, this one included; 1 on a server that does not count.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        1
    }
    /// Milliseconds since it was put, as of now; counted from the delivery on a server that does not say.
    #[must_use]
    pub fn age_ms(&self) -> u64 {
        0
    }
    /// True after ack or release, successful or not.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        false
    }
    /// Removes it for good.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`]: settled before, lease ended, connection gone, or another process (after fork) reserved it.
    pub fn ack(&mut self) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Lost, String::new()))
    }
    /// Puts it back to its place.
    ///
    /// # Errors
    /// As [`Self::ack`].
    pub fn release(&mut self) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Lost, String::new()))
    }
}
