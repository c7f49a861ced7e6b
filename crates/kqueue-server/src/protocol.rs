//! The protocols that a listening socket may speak.
//!
//! Must not: know their syntax; their codecs do.

use kqueue_broker::{Codec, Decoder, Limits};

use crate::thrift::{self, Thrift};

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// Kestrel's memcache protocol, with the extended commands.
    Memcache(Limits),
    /// Kestrel's Thrift interface.
    Thrift(thrift::Limits),
}

impl Protocol {
    /// For one connection.
    pub(crate) fn codec(self) -> Box<dyn Codec> {
        match self {
            Self::Memcache(limits) => Box::new(Decoder::new(limits)),
            Self::Thrift(limits) => Box::new(Thrift::new(limits)),
        }
    }

    /// Whether an item that was handed out may be confirmed by another connection, so that it does not return when this one ends.
    pub(crate) fn items_outlive_connections(self) -> bool {
        match self {
            Self::Memcache(_) => false,
            Self::Thrift(_) => true,
        }
    }
}
