<?php
/**
 * The site: takes a posted article and puts it on the queue `posts`. Whoever reads `posts+search` and `posts+mail` gets it too.
 *
 * `?connection=new` does without the pool, for the comparison that the demo prints.
 */
declare(strict_types=1);

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    echo '<form method="post">Title <input name="title"><br><textarea name="body"></textarea><br><button>Publish</button></form>';
    return;
}

$number = (int) ($_POST['number'] ?? 0);
$title = trim((string) ($_POST['title'] ?? ''));
$body = (string) ($_POST['body'] ?? '');
if ($title === '') {
    http_response_code(422);
    echo "An article needs a title.\n";
    return;
}

$options = ($_GET['connection'] ?? '') === 'new' ? ['persistent' => false] : [];
$begin = hrtime(true);
try {
    $queue = new KQueue(options: $options); // the servers are those of ini kqueue.servers
    $id = $queue->push('posts', json_encode(['number' => $number, 'title' => $title, 'body' => $body], JSON_THROW_ON_ERROR));
} catch (KQueueException $e) {
    http_response_code(503);
    echo get_class($e), ': ', $e->getMessage(), "\n";
    return;
}
http_response_code(202);
header('X-Push-Seconds: ' . (hrtime(true) - $begin) / 1e9);
echo "queued as $id\n";
