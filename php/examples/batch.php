<?php
/**
 * Many items at once: puts every line of a file on a queue, or takes items in batches (for a database that likes them so).
 *
 *     php batch.php put jobs < lines
 *     php batch.php take jobs
 */
declare(strict_types=1);

[, $what, $queue] = $argv + [1 => '', 2 => ''];
if (!in_array($what, ['put', 'take'], true) || $queue === '') {
    fwrite(STDERR, "usage: php batch.php put|take QUEUE\n");
    exit(2);
}
$kqueue = new KQueue();
$count = 0;
if ($what === 'put') {
    // Sent while the file is read; sync() waits for the answers.
    while (false !== $line = fgets(STDIN)) {
        $kqueue->pushAsync($queue, rtrim($line, "\n"));
        if (++$count % 1000 === 0) {
            $kqueue->sync();
        }
    }
    try {
        $kqueue->sync();
    } catch (KQueuePushException $e) {
        fwrite(STDERR, $e->getMessage() . "\n");
        exit(1);
    }
    echo "$count lines are on the queue\n";
    exit;
}
while ($messages = $kqueue->reserveMany($queue, 100, timeout: 1.0)) {
    // One transaction for all of them; whatever happens before the acks, they come again.
    store(array_map(fn (KQueue\Message $message) => $message->getBody(), $messages));
    foreach ($messages as $message) {
        $message->ack();
    }
    $count += count($messages);
}
echo "$count items are stored\n";

/** @param list<string> $rows */
function store(array $rows): void
{
    // INSERT INTO … VALUES (…), (…), (…)
}
