<?php
declare(strict_types=1);

/** Posts articles to the site over several HTTP connections at a time, and keeps account. */
final class Load
{
    /** @var array<int, true> numbers of the articles that the site took */
    public array $accepted = [];
    /** @var list<string> what went wrong */
    public array $failures = [];
    private CurlMultiHandle $multi;

    public function __construct(private string $url, private int $connections)
    {
        $this->multi = curl_multi_init();
        curl_multi_setopt($this->multi, CURLMOPT_MAXCONNECTS, $connections);
    }

    /**
     * Posts $articles; $between is called with the number of answers so far, after each.
     *
     * @return array{request: list<float>, push: list<float>} seconds per request, and of them the seconds for the push
     */
    public function post(array $articles, string $query = '', ?callable $between = null): array
    {
        $seconds = ['request' => [], 'push' => []];
        $flying = $answers = 0;
        while ($articles || $flying) {
            for (; $articles && $flying < $this->connections; $flying++) {
                curl_multi_add_handle($this->multi, $this->request(array_shift($articles), $query));
            }
            curl_multi_exec($this->multi, $running);
            while ($info = curl_multi_info_read($this->multi)) {
                $flying--;
                $this->account($info['handle'], $info['result'], $seconds);
                curl_multi_remove_handle($this->multi, $info['handle']);
                $between && $between(++$answers);
            }
            curl_multi_select($this->multi, 0.1);
        }
        return $seconds;
    }

    private function request(array $article, string $query): CurlHandle
    {
        $handle = curl_init($this->url . $query);
        curl_setopt_array($handle, [
            CURLOPT_POSTFIELDS => http_build_query($article),
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_HEADER => true,
            CURLOPT_TIMEOUT => 30,
            CURLOPT_HTTPHEADER => ['Expect:'],
            CURLOPT_PRIVATE => (string) $article['number'],
        ]);
        return $handle;
    }

    private function account(CurlHandle $handle, int $result, array &$seconds): void
    {
        $number = (int) curl_getinfo($handle, CURLINFO_PRIVATE);
        $answer = (string) curl_multi_getcontent($handle);
        if ($result === CURLE_OK && curl_getinfo($handle, CURLINFO_RESPONSE_CODE) === 202) {
            $this->accepted[$number] = true;
            $seconds['request'][] = curl_getinfo($handle, CURLINFO_TOTAL_TIME);
            preg_match('/^X-Push-Seconds: (\S+)/mi', $answer, $push);
            $seconds['push'][] = (float) $push[1];
        } else {
            $this->failures[] = "article $number: " . (curl_error($handle) ?: substr(strrchr($answer, "\n\r\n") ?: $answer, 0, 200));
        }
    }
}

/** The p-th percentile in milliseconds. */
function percentile(array $seconds, int $p): float
{
    sort($seconds);
    return 1000 * $seconds[(int) floor((count($seconds) - 1) * $p / 100)];
}
