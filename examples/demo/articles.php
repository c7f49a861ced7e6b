<?php
declare(strict_types=1);

/**
 * Real text that every Debian machine has: the descriptions of the installed packages and the texts of their copyright files.
 *
 * @return list<array{number: int, title: string, body: string}> exactly $count articles, numbered from 1, none equal to another
 */
function articles(int $count): array
{
    $articles = [];
    foreach (texts() as $title => $body) {
        $number = count($articles) + 1;
        $articles[] = compact('number', 'title', 'body');
        if ($number === $count) {
            return $articles;
        }
    }
    throw new RuntimeException("this machine has text for only " . count($articles) . " of $count articles");
}

/** @return Generator<string, string> bodies by title */
function texts(): Generator
{
    foreach (explode("\n\n", (string) file_get_contents('/var/lib/dpkg/status')) as $entry) {
        if (preg_match('/^Package: (.+)$/m', $entry, $package) && preg_match('/^Description: (.+)\n((?: .*\n?)*)/m', $entry, $text)) {
            yield "$package[1]: $text[1]" => clean($text[2]);
        }
    }
    foreach (glob('/usr/share/doc/*/copyright') as $path) {
        $package = basename(dirname($path));
        foreach (str_split(clean((string) file_get_contents($path)), 2000) as $part => $text) {
            yield "$package, its licence, part " . ($part + 1) => $text;
        }
    }
}

/** Valid UTF-8 without the indentation of Debian's control files. */
function clean(string $text): string
{
    return trim(str_replace("\n .\n", "\n\n", ascii($text)));
}

/** Bytes that are not ASCII become "?": a text cut at 2000 bytes stays valid UTF-8. */
function ascii(string $text): string
{
    return preg_replace('/[^\x09\x0a\x20-\x7e]/', '?', $text);
}
