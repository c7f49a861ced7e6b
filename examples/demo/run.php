<?php
/**
 * A small site on KQueue, and what happens when parts of it die: see the headings that it prints.
 *
 *     php -d extension=.../libkqueue.so run.php KQUEUE-SERVER LIBKQUEUE.SO
 *
 * Exit code 0: nothing was lost and no request failed. 1: see what it printed.
 */
declare(strict_types=1);

require __DIR__ . '/articles.php';
require __DIR__ . '/machine.php';
require __DIR__ . '/load.php';

const QUEUES = ['posts', 'posts+search', 'posts+mail'];
const CONNECTIONS = 16;      // HTTP clients at a time
const ROUNDS = 8;            // of the comparison, each with and without the pool
const PER_ROUND = 150;       // articles
const WARM_UP = 200;         // articles that nobody times: PHP compiles its files, the servers fill their first segments
const IN_TROUBLE = 2400;     // articles while things die

$articles = articles(WARM_UP + 2 * ROUNDS * PER_ROUND + IN_TROUBLE);
$machine = new Machine($argv[1], $argv[2]);
$database = prepare_database($machine->database());
$load = new Load($machine->url(), CONNECTIONS);

heading('Start: two queue servers (every put is on the disk before it is answered), PHP-FPM with 8 workers, nginx');
$machine->startServer(0);
$machine->startServer(1);
foreach ($machine->servers() as $server) {
    $queue = new KQueue($server);
    array_map($queue->pop(...), QUEUES); // a sub-queue begins to exist with the first who asks for it
}
$machine->startSite();
foreach (QUEUES as $i => $queue) {
    $machine->startWorker("$queue worker 1", $queue);
    $machine->startWorker("$queue worker 2", $queue);
}
say('queue servers %s; the site is %s; workers: 2 for each of %s', implode(' and ', $machine->servers()), $machine->url(), implode(', ', QUEUES));

heading(sprintf('Load: %d articles, %d HTTP clients, with the pool and with a new connection per request, in turns', 2 * ROUNDS * PER_ROUND, CONNECTIONS));
say('%d more articles come first, untimed', WARM_UP);
$load->post(array_splice($articles, 0, WARM_UP));
$pooled = $single = ['request' => [], 'push' => []];
for ($round = 0; $round < ROUNDS; $round++) {
    $pooled = array_merge_recursive($pooled, $load->post(array_splice($articles, 0, PER_ROUND)));
    $single = array_merge_recursive($single, $load->post(array_splice($articles, 0, PER_ROUND), '?connection=new'));
}
foreach (['pooled connections' => $pooled, 'connection per request' => $single] as $name => $seconds) {
    if ($seconds['request']) {
        say('%-24s request p50 %6.2f ms, p99 %6.2f ms    the push in it p50 %5.2f ms, p99 %5.2f ms', $name,
            percentile($seconds['request'], 50), percentile($seconds['request'], 99), percentile($seconds['push'], 50), percentile($seconds['push'], 99));
    }
}

heading(sprintf('Trouble: %d articles; a worker and a queue server are killed with SIGKILL meanwhile', IN_TROUBLE));
$machine->stop('posts+mail worker 1');
$machine->stop('posts+mail worker 2');
say('the mail workers are stopped, so that their articles wait on both servers');
$holder = $machine->startWorker('posts holder', 'posts', holdAt: 20);
$held = null;
$load->post($articles, between: function (int $answers) use ($machine, $holder, &$held) {
    if ($held === null && ($line = fgets($holder->output))) {
        $held = (int) substr($line, strlen('holding '));
        $machine->stop('posts holder', SIGKILL);
        say('%5d  killed a worker with article %d in its hands', $answers, $held);
    }
    if ($answers === (int) (IN_TROUBLE * 0.4)) {
        $waiting = waiting($machine->servers()[0], 'posts+mail');
        $machine->stop('server0', SIGKILL);
        say('%5d  killed queue server %s with kill -9; articles that waited there for mail: at least %d', $answers, $machine->servers()[0], $waiting);
    }
    if ($answers === (int) (IN_TROUBLE * 0.7)) {
        $machine->startServer(0);
        say('%5d  started it again; articles that wait there for mail: %d', $answers, waiting($machine->servers()[0], 'posts+mail'));
    }
});

heading('Drain');
$machine->startWorker('posts+mail worker 3', 'posts+mail');
$machine->startWorker('posts+mail worker 4', 'posts+mail');
$until = microtime(true) + 60;
$left = 1;
while ($left > 0 && microtime(true) < $until) {
    usleep(100_000);
    $left = 0;
    foreach ($machine->servers() as $server) {
        foreach (QUEUES as $queue) {
            $left += waiting($server, $queue);
        }
    }
}
say($left ? "$left items are still queued after a minute" : 'all queues of both servers are empty');

heading('Reconciliation');
$lost = reconcile($database, array_keys($load->accepted));
$failed = count($load->failures);
array_map(fn($failure) => say('failed request: %s', $failure), array_slice($load->failures, 0, 10));
if ($held === null) {
    say('the worker that was to be killed never got an article');
}
say("accepted=%d lost=%d failed_requests=%d", count($load->accepted), $lost, $failed);
exit($lost === 0 && $failed === 0 && $left === 0 && $held !== null ? 0 : 1);

/** Prints what became of the accepted articles; returns how many deliveries are missing. */
function reconcile(PDO $database, array $accepted): int
{
    $lost = 0;
    foreach (QUEUES as $queue) {
        $rows = $database->prepare('SELECT number, count(*) AS n, count(DISTINCT item) AS items, max(attempts) AS attempts FROM deliveries WHERE queue = ? GROUP BY number');
        $rows->execute([$queue]);
        $delivered = $rows->fetchAll(PDO::FETCH_UNIQUE | PDO::FETCH_ASSOC);
        $missing = array_diff($accepted, array_keys($delivered));
        $lost += count($missing);
        $pushedTwice = $deliveredTwice = 0;
        foreach ($delivered as $row) {
            $pushedTwice += $row['items'] - 1;
            $deliveredTwice += $row['n'] - $row['items'];
        }
        say('%-13s processed %5d of %d, lost %d, duplicates %d%s', $queue, count($accepted) - count($missing), count($accepted), count($missing),
            $pushedTwice + $deliveredTwice, reasons($pushedTwice, $deliveredTwice));
        if ($missing) {
            say('    lost: %s', implode(', ', array_slice($missing, 0, 20)));
        }
    }
    $again = $database->query("SELECT count(*) FROM deliveries WHERE attempts > 1")->fetchColumn();
    say('%d deliveries were not the first of their item: its worker or its server had died', $again);
    return $lost;
}

function reasons(int $pushedTwice, int $deliveredTwice): string
{
    $reasons = [];
    if ($pushedTwice) {
        $reasons[] = "$pushedTwice: the server died between storing and answering, so the push went to the other one too";
    }
    if ($deliveredTwice) {
        $reasons[] = "$deliveredTwice: the server died before it had kept the confirmation";
    }
    return $reasons ? ' (' . implode('; ', $reasons) . ')' : '';
}

/** Items of a queue that wait at a server or are in somebody's hands there. */
function waiting(string $server, string $queue): int
{
    $stats = (new KQueue($server))->stats()[$server]['server'] ?? throw new RuntimeException("$server does not answer");
    return (int) ($stats["queue_{$queue}_items"] ?? 0) + (int) ($stats["queue_{$queue}_open_transactions"] ?? 0);
}

function prepare_database(string $path): PDO
{
    $database = new PDO("sqlite:$path", options: [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $database->exec('PRAGMA journal_mode = WAL');
    $database->exec('CREATE TABLE articles(title, body); CREATE TABLE mails(subject, size); CREATE VIRTUAL TABLE search USING fts5(title, body);
        CREATE TABLE deliveries(queue, number INTEGER, item, attempts INTEGER, worker)');
    return $database;
}

function heading(string $text): void
{
    echo "\n== $text\n";
}

function say(string $format, mixed ...$values): void
{
    echo '   ', $values ? vsprintf($format, $values) : $format, "\n";
}
