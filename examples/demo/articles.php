<?php
declare(strict_types=1);

/**
 * Real text that every Debian machine has: the descriptions of the installed packages, the texts of their copyright
 * files, and the documentation inside Perl's modules (which every compiler package brings along).
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
        yield from parts(basename(dirname($path)) . ', its licence', (string) file_get_contents($path));
    }
    foreach (glob('/usr/share/perl/5.*', GLOB_ONLYDIR) as $directory) {
        foreach (new RegexIterator(new RecursiveIteratorIterator(new RecursiveDirectoryIterator($directory)), '/\.(pm|pod)$/') as $file) {
            preg_match_all('/^=head1 .*?(?=^=cut|\z)/ms', (string) file_get_contents((string) $file), $documentation);
            yield from parts(substr((string) $file, strlen($directory) + 1), implode("\n", $documentation[0]));
        }
    }
}

/** @return Generator<string, string> long texts as articles of 1000 bytes */
function parts(string $title, string $text): Generator
{
    foreach (array_filter(str_split(clean($text), 1000)) as $part => $body) {
        yield "$title, part " . ($part + 1) => $body;
    }
}

/** Valid UTF-8 without the indentation of Debian's control files. */
function clean(string $text): string
{
    return trim(str_replace("\n .\n", "\n\n", ascii($text)));
}

/** Bytes that are not ASCII become "?": a text cut anywhere stays valid UTF-8. */
function ascii(string $text): string
{
    return preg_replace('/[^\x09\x0a\x20-\x7e]/', '?', $text);
}
