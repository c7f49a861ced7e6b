<?php
/**
 * A worker of the demo: reserves articles, does the queue's work in SQLite, and confirms.
 *
 *     php worker.php DATABASE QUEUE NAME [HOLD-AT]
 *
 * It can get an article twice (at least once is the promise), so its work may be repeated without harm. With HOLD-AT it stops working at its
 * n-th article, says so, and keeps the article in its hands: the demo kills it there.
 */
declare(strict_types=1);

[, $path, $queue, $name] = $argv;
$holdAt = (int) ($argv[4] ?? 0);

$stop = false;
pcntl_async_signals(true);
pcntl_signal(SIGTERM, function () use (&$stop) {
    $stop = true; // what is in hand is finished first
});

$database = new PDO("sqlite:$path", options: [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 30]);
$work = $database->prepare(match ($queue) {
    'posts' => 'INSERT OR REPLACE INTO articles(rowid, title, body) VALUES (:number, :title, :body)',
    'posts+search' => 'INSERT OR REPLACE INTO search(rowid, title, body) VALUES (:number, :title, :body)',
    'posts+mail' => "INSERT OR REPLACE INTO mails(rowid, subject, size) VALUES (:number, 'New: ' || :title, length(:body))",
});
$log = $database->prepare('INSERT INTO deliveries(queue, number, item, attempts, worker) VALUES (?, ?, ?, ?, ?)');

$kqueue = new KQueue();
$count = 0;
while (!$stop) {
    try {
        $message = $kqueue->reserve($queue, timeout: 1.0);
    } catch (KQueueConnectionException $e) {
        fwrite(STDERR, "$name: {$e->getMessage()}\n");
        usleep(200_000);
        continue;
    }
    if ($message === null) {
        continue;
    }
    $article = json_decode($message->getBody(), true, flags: JSON_THROW_ON_ERROR);
    if (++$count === $holdAt) {
        echo "holding {$article['number']}\n";
        sleep(600);
    }
    $database->exec('BEGIN IMMEDIATE');
    $work->execute($article);
    $log->execute([$queue, $article['number'], $message->getId(), $message->getAttempts(), $name]);
    $database->exec('COMMIT');
    try {
        $message->ack();
    } catch (KQueueLostException | KQueueConnectionException $e) {
        fwrite(STDERR, "$name: article {$article['number']} may come again: {$e->getMessage()}\n");
    }
}
