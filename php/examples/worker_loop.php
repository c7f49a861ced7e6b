<?php
/**
 * A worker for supervisor or systemd: takes items until SIGTERM, or until it has done enough to be started afresh.
 *
 *     php worker_loop.php jobs
 *
 * SIGTERM while an item is in hand: the item is finished and confirmed, consume() returns, the last line is printed, exit code 0.
 * The program needs no signal handler for that.
 */
declare(strict_types=1);

if ($argc !== 2) {
    fwrite(STDERR, "usage: php worker_loop.php QUEUE\n");
    exit(2);
}
// Memory that leaks somewhere in the work is given back by starting afresh now and then.
$left = 10_000;
$started = hrtime(true);
$kqueue = new KQueue();
while ($left > 0) {
    try {
        $left -= $kqueue->consume($argv[1], 'work', $left, 3600.0);
        break; // SIGTERM, or nothing came for an hour
    } catch (KQueueLostException $e) {
        // The lease ended during the work: somebody else has the item by now. work() must bear that.
        fwrite(STDERR, $e->getMessage() . "\n");
    } catch (KQueueConnectionException $e) {
        fwrite(STDERR, $e->getMessage() . "\n");
        sleep(1); // no server is reachable
    }
}
printf("worked for %.0f s\n", (hrtime(true) - $started) / 1e9);

function work(KQueue\Message $message): void
{
    try {
        handle(json_decode($message->getBody(), true, flags: JSON_THROW_ON_ERROR));
    } catch (JsonException $e) {
        $message->bury("not JSON: {$e->getMessage()}"); // it would fail for ever
    } catch (Throwable $e) {
        fwrite(STDERR, "attempt {$message->getAttempts()}: {$e->getMessage()}\n");
        if ($message->getAttempts() >= 5) {
            $message->bury($e->getMessage());
        } else {
            $message->release(2 ** $message->getAttempts()); // 2, 4, 8, 16 seconds
        }
    }
}

function handle(mixed $job): void
{
    echo 'done: ', json_encode($job), "\n";
}
