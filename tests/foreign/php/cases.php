<?php
// What the programs beside this file share: `php FILE PORT CASE` runs the function CASE and says "ok" if nothing was wrong.

error_reporting(E_ALL & ~E_DEPRECATED);

function same(mixed $expected, mixed $got): void
{
    if ($expected !== $got) {
        $line = debug_backtrace()[0]['line'];
        fail(sprintf('line %d: expected %s, got %s', $line, shown($expected), shown($got)));
    }
}

function fail(string $message): never
{
    fwrite(STDERR, "$message\n");
    exit(1);
}

function shown(mixed $value): string
{
    $text = var_export($value, true);
    return strlen($text) > 500 ? substr($text, 0, 500) . '…' : $text;
}

function port(): int
{
    return (int) $GLOBALS['argv'][1];
}

/** What the server answers to one line, up to the end of the first line: without the client. */
function first_line(string $request): string
{
    $socket = fsockopen('127.0.0.1', port());
    fwrite($socket, "$request\r\n");
    return rtrim(fgets($socket));
}

function run_case(): void
{
    $GLOBALS['argv'][2]();
    echo 'ok';
}
