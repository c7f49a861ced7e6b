<?php
declare(strict_types=1);

/** A child process of the demo, ended by its handle. */
final class Process
{
    /** @var resource */
    private $handle;
    /** @var resource its standard output */
    public $output;

    /** @param list<string> $command */
    public function __construct(public readonly string $name, array $command, private string $log)
    {
        $this->handle = proc_open($command, [['file', '/dev/null', 'r'], ['pipe', 'w'], ['file', $log, 'a']], $pipes)
            ?: throw new RuntimeException("$name could not be started: " . implode(' ', $command));
        $this->output = $pipes[1];
        stream_set_blocking($this->output, false);
    }

    public function isRunning(): bool
    {
        return $this->handle && proc_get_status($this->handle)['running'];
    }

    /** Sends the signal and waits for the end; for longer than 20 seconds it waits for nobody. */
    public function stop(int $signal = SIGTERM): void
    {
        if (!$this->handle) {
            return;
        }
        proc_terminate($this->handle, $signal);
        $until = microtime(true) + 20;
        while ($this->isRunning() && microtime(true) < $until) {
            usleep(2_000);
        }
        if ($this->isRunning()) {
            proc_terminate($this->handle, SIGKILL);
        }
        proc_close($this->handle);
        $this->handle = null;
    }

    public function log(): string
    {
        return is_file($this->log) ? (string) file_get_contents($this->log) : '';
    }
}

/** Everything that runs: two queue servers, PHP-FPM, nginx, workers. All on loopback, all in one temporary directory. */
final class Machine
{
    public readonly string $directory;
    /** @var list<int> */
    private array $ports;
    /** @var array<string, Process> */
    private array $processes = [];

    public function __construct(private string $serverBinary, private string $extension)
    {
        $this->directory = sys_get_temp_dir() . '/kqueue-demo-' . getmypid();
        mkdir($this->directory, 0700);
        $this->ports = free_ports(3);
        register_shutdown_function($this->end(...));
    }

    /** @return list<string> the queue servers' addresses */
    public function servers(): array
    {
        return ["127.0.0.1:{$this->ports[0]}", "127.0.0.1:{$this->ports[1]}"];
    }

    public function url(): string
    {
        return "http://127.0.0.1:{$this->ports[2]}/";
    }

    /** Starts queue server 0 or 1, on the data it had, and waits until it answers. */
    public function startServer(int $number): void
    {
        $config = "$this->directory/server$number.toml";
        file_put_contents($config, <<<TOML
            [server]
            data_dir = "$this->directory/data$number"
            [listen]
            memcache = "{$this->servers()[$number]}"
            TOML);
        $this->start("server$number", [$this->serverBinary, '--config', $config]);
        $this->await("server$number", fn() => (new KQueue($this->servers()[$number]))->ping()[$this->servers()[$number]] !== null);
    }

    public function startSite(): void
    {
        $pool = "$this->directory/fpm.sock";
        $asRoot = posix_geteuid() === 0;
        $user = $asRoot ? "user = root\ngroup = root" : '';
        file_put_contents("$this->directory/fpm.conf", <<<INI
            [global]
            error_log = $this->directory/fpm.log
            [site]
            $user
            listen = $pool
            pm = static
            pm.max_children = 8
            INI);
        $fpm = current(array_filter(['/usr/sbin/php-fpm' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION, '/usr/sbin/php-fpm'], is_executable(...)));
        $fpm ?: throw new RuntimeException('php-fpm is not installed: run scripts/install.sh demo');
        $this->start('php-fpm', [
            $fpm, '--nodaemonize', '--fpm-config', "$this->directory/fpm.conf", ...$asRoot ? ['--allow-to-run-as-root'] : [],
            ...$this->phpOptions(),
        ]);

        $site = __DIR__ . '/site';
        $user = $asRoot ? 'user root;' : '';
        file_put_contents("$this->directory/nginx.conf", <<<NGINX
            $user
            daemon off;
            worker_processes 1;
            pid $this->directory/nginx.pid;
            error_log stderr;
            events { worker_connections 256; }
            http {
                access_log off;
                client_body_temp_path $this->directory/nginx-body;
                fastcgi_temp_path $this->directory/nginx-fastcgi;
                proxy_temp_path $this->directory/nginx-proxy;
                uwsgi_temp_path $this->directory/nginx-uwsgi;
                scgi_temp_path $this->directory/nginx-scgi;
                client_body_buffer_size 64k;
                keepalive_requests 100000;
                server {
                    listen 127.0.0.1:{$this->ports[2]};
                    location / {
                        include /etc/nginx/fastcgi_params;
                        fastcgi_param SCRIPT_FILENAME $site/index.php;
                        fastcgi_pass unix:$pool;
                    }
                }
            }
            NGINX);
        $this->start('nginx', ['/usr/sbin/nginx', '-e', 'stderr', '-c', "$this->directory/nginx.conf"]);
        $this->await('nginx', fn() => str_contains((string) @file_get_contents($this->url()), '<form'));
    }

    public function startWorker(string $name, string $queue, int $holdAt = 0): Process
    {
        return $this->start($name, [PHP_BINARY, ...$this->phpOptions(), __DIR__ . '/worker.php', $this->database(), $queue, $name, (string) $holdAt]);
    }

    public function database(): string
    {
        return "$this->directory/site.sqlite";
    }

    public function process(string $name): Process
    {
        return $this->processes[$name];
    }

    public function stop(string $name, int $signal = SIGTERM): void
    {
        $this->processes[$name]->stop($signal);
        unset($this->processes[$name]);
    }

    /** @param list<string> $command */
    private function start(string $name, array $command): Process
    {
        return $this->processes[$name] = new Process($name, $command, "$this->directory/$name.log");
    }

    /** @return list<string> */
    private function phpOptions(): array
    {
        return ['-d', "extension=$this->extension", '-d', 'kqueue.servers=' . implode(',', $this->servers())];
    }

    private function await(string $name, callable $isUp): void
    {
        $until = microtime(true) + 30;
        while (!$isUp()) {
            if (!$this->processes[$name]->isRunning() || microtime(true) > $until) {
                throw new RuntimeException("$name did not start:\n" . $this->processes[$name]->log());
            }
            usleep(10_000);
        }
    }

    /** Ends everything, in the order in which nobody misses anybody, and removes the temporary directory. */
    private function end(): void
    {
        foreach (array_reverse(array_keys($this->processes)) as $name) {
            $this->stop($name, $name === 'nginx' || $name === 'php-fpm' ? SIGQUIT : SIGTERM);
        }
        remove_tree($this->directory);
    }
}

/** @return list<int> loopback ports that nobody listens on */
function free_ports(int $count): array
{
    $sockets = array_map(fn() => stream_socket_server('tcp://127.0.0.1:0'), range(1, $count));
    return array_map(fn($socket) => (int) substr(strrchr(stream_socket_get_name($socket, false), ':'), 1), $sockets);
}

function remove_tree(string $path): void
{
    if (is_dir($path) && !is_link($path)) {
        foreach (array_diff(scandir($path), ['.', '..']) as $name) {
            remove_tree("$path/$name");
        }
        rmdir($path);
    } else {
        unlink($path);
    }
}
