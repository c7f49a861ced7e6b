//! The protocols that a listening socket may speak.
//!
//! Must not: know their syntax; their codecs do.

use kqueue_broker::{Codec, Decoder, Limits, TextCodec};

use crate::thrift::{self, Thrift};

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// Kestrel's memcache protocol, with the extended commands.
    Memcache(Limits),
    /// Kestrel's text protocol.
    Text(Limits),
    /// Kestrel's Thrift interface.
    Thrift(thrift::Limits),
}

impl Protocol {
    /// For one connection.
    pub(crate) fn codec(self) -> Box<dyn Codec> {
        match self {
            Self::Memcache(limits) => Box::new(Decoder::new(limits)),
            Self::Text(limits) => Box::new(TextCodec::new(limits)),
            Self::Thrift(limits) => Box::new(Thrift::new(limits)),
        }
    }

    /// Whether an item that was handed out may be confirmed by another connection, so that it does not return when this one ends.
    pub(crate) fn items_outlive_connections(self) -> bool {
        match self {
            Self::Memcache(_) | Self::Text(_) => false,
            Self::Thrift(_) => true,
        }
    }

    /// What one connection too many is told, as far as the protocol has words for it.
    pub(crate) fn too_many_connections(self) -> &'static [u8] {
        match self {
            Self::Memcache(_) => b"SERVER_ERROR too many connections\r\n",
            Self::Text(_) => b"-too many connections\n",
            // There is no answer without a call.
            Self::Thrift(_) => b"",
        }
    }
}
