<?php
/**
 * Puts one item per argument (or per line of standard input) on a queue:
 *
 *     php push.php jobs 'first job' 'second job'
 *     ls | php push.php jobs
 *
 * The servers come from ini kqueue.servers.
 */
declare(strict_types=1);

if ($argc < 2) {
    fwrite(STDERR, "usage: php push.php QUEUE [BODY ...]\n");
    exit(2);
}
$queue = $argv[1];
$bodies = array_slice($argv, 2) ?: file('php://stdin', FILE_IGNORE_NEW_LINES);

try {
    foreach ((new KQueue())->pushMany($queue, $bodies) as $key => $id) {
        echo "stored #$key as $id\n";
    }
} catch (KQueuePushException $e) {
    // Say which items are safe, so that only the others are sent again.
    fwrite(STDERR, $e->getMessage() . "\n");
    foreach ($e->getFailed() as $key) {
        fwrite(STDERR, "not stored: #$key\n");
    }
    exit(1);
}
