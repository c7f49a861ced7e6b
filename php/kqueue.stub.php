<?php
/**
 * Stub of the KQueue extension, for editors, static analysis and tests. Times are seconds (float) unless a name says otherwise.
 * Every method checks its arguments before a byte is sent: a wrong type raises the engine's own TypeError, a bad value a ValueError.
 */
namespace {
/**
 * The queues of one or several kqueue-servers (or Kestrel, Darner, Siberite). Any number of objects share the connections of the process.
 */
class KQueue
{
    /**
     * Cheap and lazy: connects at first use; connections are pooled per process and survive the request.
     *
     * @param array|string|null $servers 'h1:22133,h2:22133', '[::1]:22133', 'unix:///run/kqueue/kqueue.sock', a list of them, or null for
     *   ini kqueue.servers. The port is 22133 if none is given.
     * @param array{connect_timeout?: float, timeout?: float, retries?: int, retry_mode?: 'safe'|'always'|'never', backoff_base?: float,
     *   backoff_cap?: float, failover?: 'random'|'ordered', eject_time?: float, persistent?: bool, persistent_id?: string, max_idle?: float} $options
     *   timeout: limit of one call, retries included (pop and reserve add their own); retries: further rounds over the servers;
     *   eject_time: a dead server is probed once per this many seconds. What is left out comes from the ini settings.
     * @throws ValueError for a malformed address, an unknown option or a bad value
     */
    public function __construct(array|string|null $servers = null, array $options = []) {}

    /**
     * Puts one item, durably by the server's rules. Fails over to another server.
     *
     * @param int $ttl seconds after which the item expires; 0: never
     * @return string its id: opaque, never empty
     * @throws KQueueException
     */
    public function push(string $queue, string $body, int $ttl = 0): string {}

    /**
     * Puts many items, pipelined. The iterable is read to its end before anything is sent; a generator that yields a key twice is a ValueError.
     *
     * @param iterable<int|string, string> $bodies
     * @return array<int|string, string> their ids, with the keys of $bodies
     * @throws KQueuePushException says which were stored
     */
    public function pushMany(string $queue, iterable $bodies, int $ttl = 0): array {}

    /**
     * Takes one item for good (at most once: lost if this process dies before using it).
     *
     * @return string|null the body; null: nothing came in $timeout, or a signal arrived (its handlers run first; no item is lost)
     * @throws KQueueException
     */
    public function pop(string $queue, float $timeout = 0.0): ?string {}

    /**
     * Takes one item tentatively, from any living server.
     *
     * @param string|list<string> $queues one to sixteen queues, tried in this order
     * @param float $lease seconds after which the item goes back by itself; 0: when the connection closes
     * @return KQueue\Message|null null: nothing came in $timeout, or a signal arrived (its handlers run first)
     * @throws KQueueException
     */
    public function reserve(string|array $queues, float $timeout = 0.0, float $lease = 0.0): ?KQueue\Message {}

    /** The head item's body, left where it is; null: the queue is empty. */
    public function peek(string $queue): ?string {}

    /** Items waiting, summed over living servers. */
    public function size(string $queue): int {}

    /** Discards all waiting items on all servers. */
    public function purge(string $queue): void {}

    /** Deletes the queue on all servers. */
    public function delete(string $queue): void {}

    /**
     * Per server, keyed by its address as it was given: its own stats ('server', null if it does not answer), and this process's view of it
     * ('client': state, refuses_pushes, extended, idle_connections, opened, errors, last_error).
     *
     * @return array<string, array{server: array<string, int|string>|null, client: array<string, mixed>}>
     */
    public function stats(): array {}

    /**
     * Per server, keyed by its address as it was given: round-trip seconds, or null where it does not answer.
     *
     * @return array<string, float|null>
     */
    public function ping(): array {}

    /** Returns what is still reserved through this object and gives its connections back. The object can be used again. */
    public function close(): void {}

    /** Returns everything reserved by this process and closes every pooled connection of it. */
    public static function closeAll(): void {}
}

/** The base of all exceptions of this extension. getCode() is 1 if it is unknown whether a server did what was asked, else 0. */
class KQueueException extends RuntimeException {}

/** No server reachable, or the connection broke: try again later. */
class KQueueConnectionException extends KQueueException {}

/** The deadline passed. For a push the outcome may be unknown: getCode() is 1 then. */
class KQueueTimeoutException extends KQueueConnectionException {}

/** The server refused: read the message. */
class KQueueServerException extends KQueueException {}

/** Queue or disk full: slow down. */
class KQueueFullException extends KQueueServerException {}

/** Credentials or rights. */
class KQueueAuthException extends KQueueServerException {}

/** Some of many were not stored. */
class KQueuePushException extends KQueueException
{
    private array $stored = [];
    private array $failed = [];

    /** @return array<int|string, string> the caller's keys with the ids of what was stored */
    public function getStored(): array {}

    /** @return list<int|string> the caller's keys of what was not stored, in the caller's order */
    public function getFailed(): array {}
}

/** This item is no longer ours: stop working on it. */
class KQueueLostException extends KQueueException {}

/** The peer does not speak the protocol; the connection was closed. */
class KQueueProtocolException extends KQueueException {}

}

namespace KQueue {

/** One reserved item. Dropped unsettled, or at request end, it goes back to its queue. Settling twice, or after the lease, throws KQueueLostException. */
class Message
{
    /** Messages come from KQueue::reserve(). */
    private function __construct() {}

    public function getQueue(): string {}

    public function getBody(): string {}

    public function getId(): string {}

    /** Deliveries so far, this one included; 1 on a server that does not count. */
    public function getAttempts(): int {}

    /** Seconds since it was put; since it was delivered on a server that does not say. */
    public function getAge(): float {}

    /** Done: the item is removed for good. */
    public function ack(): void {}

    /**
     * Back to its place.
     *
     * @param float $delay a delay above 0 is not offered by the server yet, and is a KQueueServerException that leaves the item reserved
     */
    public function release(float $delay = 0.0): void {}

    /** Whether this object has nothing in hand any more: acknowledged, released, returned or lost. */
    public function isSettled(): bool {}
}

}
