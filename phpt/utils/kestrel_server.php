<?php
$listener = stream_socket_server($argv[1]);
$clients = [];
$queues = [];
echo "ready\n";

final class Client
{
    public string $input = '';
    /** @var array<string, array{int, string}> by queue: place and body */
    public array $open = [];
    /** @var array{string, float}|null the queue it waits at, and until when */
    public ?array $waits = null;

    public function __construct(public $socket)
    {
    }
}

function give_back(Client $client, string $queue): void
{
    global $queues;
    [$place, $body] = $client->open[$queue];
    unset($client->open[$queue]);
    $queues[$queue][$place] = $body;
    ksort($queues[$queue]);
}

/** Answers a get that may be answered now. */
function serve(Client $client, string $queue, bool $peek): bool
{
    global $queues;
    if (empty($queues[$queue])) {
        return false;
    }
    $place = array_key_first($queues[$queue]);
    $body = $queues[$queue][$place];
    if (!$peek) {
        $client->open[$queue] = [$place, $body];
        unset($queues[$queue][$place]);
    }
    fwrite($client->socket, "VALUE $queue 0 " . strlen($body) . "\r\n$body\r\nEND\r\n");
    return true;
}

/** Runs the next whole request in the input: false if there is none. */
function step(Client $client): bool
{
    global $queues, $place;
    if ($client->waits || false === $end = strpos($client->input, "\r\n")) {
        return false;
    }
    $words = explode(' ', substr($client->input, 0, $end));
    $rest = substr($client->input, $end + 2);
    if ($words[0] === 'set') {
        $bytes = (int) $words[4];
        if (strlen($rest) < $bytes + 2) {
            return false;
        }
        $queues[$words[1]][++$place] = substr($rest, 0, $bytes);
        $rest = substr($rest, $bytes + 2);
        fwrite($client->socket, "STORED\r\n");
    } elseif ($words[0] === 'get') {
        $options = explode('/', $words[1]);
        $queue = array_shift($options);
        $wait = 0;
        foreach ($options as $option) {
            $wait = str_starts_with($option, 't=') ? (int) substr($option, 2) / 1000 : $wait;
        }
        if (in_array('close', $options)) {
            unset($client->open[$queue]);
        } elseif (in_array('abort', $options) && isset($client->open[$queue])) {
            give_back($client, $queue);
        }
        if (array_intersect(['close', 'abort'], $options)) {
            fwrite($client->socket, "END\r\n");
        } elseif (!serve($client, $queue, in_array('peek', $options))) {
            if ($wait) {
                $client->waits = [$queue, microtime(true) + $wait];
            } else {
                fwrite($client->socket, "END\r\n");
            }
        }
    } elseif ($words[0] === 'flush' || $words[0] === 'delete') {
        unset($queues[$words[1]]);
        fwrite($client->socket, $words[0] === 'flush' ? "END\r\n" : "DELETED\r\n");
    } elseif ($words[0] === 'stats') {
        $lines = array_map(fn ($queue) => "STAT queue_{$queue}_items " . count($queues[$queue]) . "\r\n", array_keys($queues));
        fwrite($client->socket, implode($lines) . "END\r\n");
    } elseif ($words[0] === 'version') {
        fwrite($client->socket, "VERSION 2.4.1\r\n");
    } else {
        fwrite($client->socket, "CLIENT_ERROR\r\n");
        fclose($client->socket);
        return false;
    }
    $client->input = $rest;
    return true;
}

for (;;) {
    $read = [$listener, ...array_map(fn ($client) => $client->socket, $clients)];
    $write = $except = null;
    stream_select($read, $write, $except, 0, 5000);
    if (in_array($listener, $read, true)) {
        $socket = stream_socket_accept($listener);
        stream_set_blocking($socket, false);
        $clients[(int) $socket] = new Client($socket);
    }
    foreach ($clients as $id => $client) {
        if (in_array($client->socket, $read, true)) {
            $client->input .= fread($client->socket, 1 << 20);
        }
        while (step($client)) {
        }
        if (is_resource($client->socket) && $client->waits) {
            [$queue, $until] = $client->waits;
            if (serve($client, $queue, false)) {
                $client->waits = null;
            } elseif (microtime(true) >= $until) {
                $client->waits = null;
                fwrite($client->socket, "END\r\n");
            }
        }
        if (!is_resource($client->socket) || feof($client->socket)) {
            array_map(fn ($queue) => give_back($client, $queue), array_keys($client->open));
            unset($clients[$id]);
        }
    }
}
