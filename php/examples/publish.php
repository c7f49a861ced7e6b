<?php
/**
 * A web page that publishes something and puts it on a queue: the reader does not wait for the work.
 *
 *     curl -d 'title=Hello' http://127.0.0.1/publish.php
 *
 * push() returns when the item is on a server's disk. If no server takes it, the page says so and the reader tries again: nothing is
 * lost silently. The connection stays with the PHP-FPM worker and serves the next request.
 */
declare(strict_types=1);

$title = $_POST['title'] ?? '';
if (!is_string($title) || $title === '') {
    http_response_code(400);
    exit("a title is missing\n");
}
try {
    $id = (new KQueue())->push('posts', json_encode(['title' => $title], JSON_THROW_ON_ERROR));
    http_response_code(202);
    echo "queued as $id\n";
} catch (KQueueException $e) {
    error_log($e->getMessage());
    http_response_code(503);
    header('Retry-After: 5');
    echo "please try again\n";
}
