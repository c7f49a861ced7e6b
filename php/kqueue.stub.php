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
     * Sends one item and does not wait for the answer: that is awaited by sync(), or at the end of the request, where what a server did
     * not store goes to another one; what fails even then is in PHP's error log. At 8 MiB without an answer it waits for answers first.
     *
     * @param int $ttl seconds after which the item expires; 0: never
     * @throws KQueueException nothing can be sent, and there is no room to keep another item: this one is not among those of sync()
     */
    public function pushAsync(string $queue, string $body, int $ttl = 0): void {}

    /**
     * Waits for the answers of all pushAsync() of this object since the last sync().
     *
     * @return int how many were stored
     * @throws KQueuePushException says which were not; the keys are 0, 1, 2 and so on, in the order of the calls
     */
    public function sync(): int {}

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

    /**
     * Takes up to $max items tentatively; waits only for the first. A server gives at most 1000 at a time, and as many of one queue as its
     * max_open_transactions says (100); a Kestrel gives as many as kqueue.pool_max_connections says.
     *
     * @param string|list<string> $queues one to sixteen queues, tried in this order
     * @param int $max at least 1
     * @return list<KQueue\Message> empty: as for reserve()
     * @throws KQueueException
     */
    public function reserveMany(string|array $queues, int $max, float $timeout = 0.0, float $lease = 0.0): array {}

    /**
     * A worker's loop: takes an item, calls $handler(KQueue\Message), confirms the item when that returns (false: and stops), gives it back
     * when it throws (the exception propagates). What the handler has settled itself is left alone.
     *
     * Stops after $max items (0: no limit), when nothing came in $timeout, and on a signal. On the command line SIGTERM waits for the item
     * in hand: then the loop ends, and what follows it in the program is done; the next consume() lets the signal end the process, unless
     * the program has a handler for it, which is called as ever.
     *
     * @param string|list<string> $queues one to sixteen queues, tried in this order
     * @param callable(KQueue\Message): mixed $handler
     * @return int items handled
     * @throws KQueueException
     */
    public function consume(string|array $queues, callable $handler, int $max = 0, float $timeout = 1.0): int {}

    /**
     * For foreach: items as they come, each taken when it is asked for; ends when nothing came in $timeout, or on a signal. An item that is
     * not settled goes back to its queue when its variable is overwritten.
     *
     * @param string|list<string> $queues one to sixteen queues, tried in this order
     * @return KQueue\Messages
     */
    public function messages(string|array $queues, float $timeout = 0.0): Iterator {}

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

    /**
     * Done: the item is removed for good.
     *
     * @throws KQueueLostException somebody else has it, or will; getCode() is 1 if it may have been removed all the same
     */
    public function ack(): void {}

    /**
     * Back to its place.
     *
     * @param float $delay seconds after which it comes again, 0 at once; left out: as the queue's retry_delay says
     * @throws KQueueLostException
     * @throws KQueueServerException the server cannot delay it, or not now (KQueueFullException: its disk is full); the item stays in hand
     */
    public function release(float $delay = 0.0): void {}

    /**
     * To the queue's dead letters.
     *
     * @param string $reason shown with it; its first 1024 bytes are kept
     * @throws KQueueLostException
     * @throws KQueueServerException as for release()
     */
    public function bury(string $reason = ''): void {}

    /**
     * Extends the lease.
     *
     * @param float $lease seconds from now; 0: until the connection closes. A Kestrel has no leases: there an item in hand stays so.
     * @throws KQueueLostException
     * @throws KQueueServerException the server has no such command; the item stays in hand
     */
    public function touch(float $lease = 0.0): void {}

    /** Whether this object has nothing in hand any more: acknowledged, released, buried, returned or lost. */
    public function isSettled(): bool {}
}

/** What KQueue::messages() returns: items as they come. It goes forward only. */
final class Messages implements \Iterator
{
    /** They come from KQueue::messages(). */
    private function __construct() {}

    public function rewind(): void {}

    public function valid(): bool {}

    public function current(): ?Message {}

    /** How many came before. */
    public function key(): ?int {}

    public function next(): void {}
}

}
