<?php
/**
 * A worker: takes items from a queue until it is told to stop (SIGTERM or SIGINT) or, with a second argument, until the
 * queue has been empty for that many seconds:
 *
 *     php worker.php jobs
 *     php worker.php jobs 5
 *
 * An item that is not acknowledged, for whatever reason, goes back to its queue: after an exception, after exit() or a
 * fatal error, and when this process is killed.
 */
declare(strict_types=1);

if ($argc < 2) {
    fwrite(STDERR, "usage: php worker.php QUEUE [IDLE-SECONDS]\n");
    exit(2);
}
$queue = $argv[1];
$idle = (float) ($argv[2] ?? 0);

$stop = false;
if (function_exists('pcntl_async_signals')) {
    pcntl_async_signals(true);
    foreach ([SIGTERM, SIGINT] as $signal) {
        pcntl_signal($signal, function () use (&$stop) {
            $stop = true; // the item in hand is finished first
        });
    }
}

$kqueue = new KQueue();
$last = microtime(true);
while (!$stop) {
    try {
        $message = $kqueue->reserve($queue, timeout: 1.0);
    } catch (KQueueConnectionException $e) {
        fwrite(STDERR, $e->getMessage() . "\n");
        sleep(1); // no server is reachable: wait a little, then try again
        continue;
    }
    if ($message === null) {
        if ($idle > 0 && microtime(true) - $last >= $idle) {
            break;
        }
        continue;
    }
    try {
        work($message);
        $message->ack();
    } catch (KQueueLostException) {
        // Another worker has it by now: work() must bear that.
    } catch (Throwable $e) {
        fwrite(STDERR, "attempt {$message->getAttempts()} failed: {$e->getMessage()}\n");
        if (!$message->isSettled()) {
            $message->release();
        }
    }
    $last = microtime(true);
}

function work(KQueue\Message $message): void
{
    printf("%s: %s\n", $message->getId(), $message->getBody());
}
