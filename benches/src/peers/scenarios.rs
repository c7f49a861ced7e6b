//! What is measured, and on which servers.

use crate::load::Work;
use crate::peers::fleet::Peer;

/// How hard it is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Press {
    /// As hard as it can bear, for the time of a measurement.
    Full,
    /// The same, until so many operations are done.
    Until(Count),
    /// At half the rate that it reached in that scenario, in an open loop.
    HalfOf(&'static str),
}

/// How many operations, where it is not time that ends a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Exactly(u64),
    /// As the run's options say.
    Backlog,
    /// The same, of items that are small.
    Items,
}

/// One workload.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) work: Work,
    pub(crate) press: Press,
    pub(crate) connections: usize,
    pub(crate) body_bytes: usize,
    /// Connections that do nothing.
    pub(crate) idle: usize,
    pub(crate) is_filled_before: bool,
    /// False if the next one goes on with what it leaves in the queue.
    pub(crate) is_emptied_after: bool,
    pub(crate) peers: &'static [Peer],
}

const PUTS: Scenario = Scenario {
    name: "puts-64x64",
    what: "puts of 64 B, 64 connections",
    work: Work::Put,
    press: Press::Full,
    connections: 64,
    body_bytes: 64,
    idle: 0,
    is_filled_before: false,
    is_emptied_after: true,
    peers: &Peer::ALL,
};

const SHORT: Scenario = Scenario {
    name: "short-1",
    what: "connect, put of 64 B, reply, close; 1 at a time",
    work: Work::ShortPut,
    connections: 1,
    peers: &[
        Peer::Kqueue,
        Peer::Memcached,
        Peer::BeanstalkMemory,
        Peer::RedisEverysec,
        Peer::Nutcracker,
        Peer::Echo,
    ],
    ..PUTS
};

const QUEUES: &[Peer] = &[Peer::Kqueue, Peer::BeanstalkMemory, Peer::RedisEverysec];

/// In the order in which they are measured.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "puts-1x64",
        what: "puts of 64 B, 1 connection",
        connections: 1,
        peers: &[
            Peer::Kqueue,
            Peer::KqueueSynced,
            Peer::Memcached,
            Peer::BeanstalkMemory,
            Peer::RedisEverysec,
            Peer::RedisAlways,
            Peer::Echo,
        ],
        ..PUTS
    },
    Scenario {
        peers: &[
            Peer::Kqueue,
            Peer::KqueueKestrel,
            Peer::Memcached,
            Peer::BeanstalkMemory,
            Peer::BeanstalkDefault,
            Peer::RedisEverysec,
            Peer::Nats,
            Peer::Echo,
            Peer::KqueueSynced,
            Peer::RedisAlways,
            Peer::BeanstalkSynced,
        ],
        ..PUTS
    },
    Scenario {
        name: "puts-64x1k",
        what: "puts of 1 KiB, 64 connections",
        body_bytes: 1024,
        peers: &[
            Peer::Kqueue,
            Peer::Memcached,
            Peer::BeanstalkMemory,
            Peer::RedisEverysec,
            Peer::Nats,
            Peer::Echo,
            Peer::KqueueSynced,
            Peer::RedisAlways,
            Peer::BeanstalkSynced,
        ],
        ..PUTS
    },
    Scenario {
        name: "half-1k",
        what: "puts of 1 KiB, 64 connections, at half the rate of puts-64x1k",
        body_bytes: 1024,
        press: Press::HalfOf("puts-64x1k"),
        peers: &[
            Peer::Kqueue,
            Peer::Memcached,
            Peer::RedisEverysec,
            Peer::Echo,
            Peer::KqueueSynced,
            Peer::RedisAlways,
        ],
        ..PUTS
    },
    Scenario {
        name: "take-64x64",
        what: "reserve and ack of 64 B, 64 connections",
        work: Work::Take,
        press: Press::Until(Count::Items),
        is_filled_before: true,
        peers: &[
            Peer::Kqueue,
            Peer::KqueueKestrel,
            Peer::KqueueSynced,
            Peer::BeanstalkMemory,
            Peer::RedisEverysec,
        ],
        ..PUTS
    },
    Scenario {
        name: "mixed-64x1k",
        what: "put, reserve and ack of 1 KiB, 64 connections",
        work: Work::PutAndTake,
        body_bytes: 1024,
        peers: QUEUES,
        ..PUTS
    },
    SHORT,
    Scenario {
        name: "short-16",
        what: "connect, put of 64 B, reply, close; 16 at a time",
        connections: 16,
        ..SHORT
    },
    Scenario {
        name: "short-64",
        what: "connect, put of 64 B, reply, close; 64 at a time",
        connections: 64,
        ..SHORT
    },
    Scenario {
        name: "crowd-0",
        what: "puts of 64 B, 64 connections, once more",
        peers: &[Peer::Kqueue, Peer::Memcached],
        ..PUTS
    },
    Scenario {
        name: "crowd-5000",
        what: "the same beside 5,000 idle connections",
        idle: 5000,
        peers: &[Peer::Kqueue, Peer::Memcached],
        ..PUTS
    },
    Scenario {
        name: "backlog-filling",
        what: "backlog of 1 KiB: filling, 64 connections",
        is_emptied_after: false,
        press: Press::Until(Count::Backlog),
        body_bytes: 1024,
        peers: QUEUES,
        ..PUTS
    },
    Scenario {
        name: "backlog-resting",
        what: "put, reserve and ack at the backlog",
        is_emptied_after: false,
        work: Work::PutAndTake,
        body_bytes: 1024,
        peers: QUEUES,
        ..PUTS
    },
    Scenario {
        name: "backlog-draining",
        what: "backlog of 1 KiB: reserve and ack of all",
        work: Work::Take,
        press: Press::Until(Count::Backlog),
        body_bytes: 1024,
        peers: QUEUES,
        ..PUTS
    },
    Scenario {
        name: "put-many",
        what: "Kestrel's put-many: 10,000 puts of 1 KiB, 100 connections",
        press: Press::Until(Count::Exactly(10_000)),
        connections: 100,
        body_bytes: 1024,
        peers: &[
            Peer::KqueueKestrel,
            Peer::KqueueSynced,
            Peer::Memcached,
            Peer::BeanstalkMemory,
            Peer::RedisEverysec,
        ],
        ..PUTS
    },
];
