--TEST--
A destructor at the end of the request can still settle its message
--SKIPIF--
<?php require __DIR__ . '/../utils/needs_server.inc'; ?>
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
require __DIR__ . '/../utils/web.inc';
$server = Server::start();
$web = new Web($server->address(), ['take' => <<<'PHP'
    $q->push('q', 'b');
    class Job
    {
        public function __construct(private KQueue\Message $message) {}
        public function __destruct() { $this->message->ack(); echo 'acknowledged'; }
    }
    $job = new Job($q->reserve('q'));
    PHP]);
echo $web->get('take'), "\n";
var_dump($server->stat('queue_q_items'), $server->stat('queue_q_open_transactions'));
?>
--EXPECT--
acknowledged
string(1) "0"
string(1) "0"
