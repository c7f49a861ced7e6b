--TEST--
Unknown options, wrong types and wrong values; no value is ever shown
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$try = fn (array $options) => outcome(function () use ($options) { new KQueue('h', $options); });
$try(['time_out' => 1]);
$try([1]);
$try(["\xff\"" => 1]);
$try(['timeout' => 'hunter2']);
$try(['timeout' => null]);
$try(['timeout' => 0]);
$try(['timeout' => -1]);
$try(['connect_timeout' => NAN]);
$try(['retries' => []]);
$try(['retries' => -1]);
$try(['retries' => 101]);
$try(['retry_mode' => 'hunter2']);
$try(['failover' => 5.5]);
$try(['backoff_base' => -0.1]);
$try(['backoff_cap' => INF]);
$try(['eject_time' => 'x']);
$try(['persistent' => []]);
$try(['persistent_id' => new stdClass()]);
$try(['persistent_id' => str_repeat('x', 256)]);
$try(['max_idle' => 1e9]);
$try([
    'connect_timeout' => 0.5, 'timeout' => 2, 'retries' => 0, 'retry_mode' => 'never', 'backoff_base' => 0, 'backoff_cap' => 0.1,
    'failover' => 'ordered', 'eject_time' => 3, 'persistent' => false, 'persistent_id' => 'a', 'max_idle' => 10,
]);
?>
--EXPECT--
ValueError: KQueue::__construct(): Argument #2 ($options) has an unknown option "time_out", the options are connect_timeout, timeout, retries, retry_mode, backoff_base, backoff_cap, failover, eject_time, persistent, persistent_id and max_idle
ValueError: KQueue::__construct(): Argument #2 ($options) has an unknown option "0", the options are connect_timeout, timeout, retries, retry_mode, backoff_base, backoff_cap, failover, eject_time, persistent, persistent_id and max_idle
ValueError: KQueue::__construct(): Argument #2 ($options) has an unknown option "\xff\"", the options are connect_timeout, timeout, retries, retry_mode, backoff_base, backoff_cap, failover, eject_time, persistent, persistent_id and max_idle
TypeError: KQueue::__construct(): Argument #2 ($options) option "timeout" must be of type float, string given
TypeError: KQueue::__construct(): Argument #2 ($options) option "timeout" must be of type float, null given
ValueError: KQueue::__construct(): Argument #2 ($options) option "timeout" must be at least 0.001 seconds
ValueError: KQueue::__construct(): Argument #2 ($options) option "timeout" must be between 0 and 86400 seconds
ValueError: KQueue::__construct(): Argument #2 ($options) option "connect_timeout" must be between 0 and 86400 seconds
TypeError: KQueue::__construct(): Argument #2 ($options) option "retries" must be of type int, array given
ValueError: KQueue::__construct(): Argument #2 ($options) option "retries" must be between 0 and 100
ValueError: KQueue::__construct(): Argument #2 ($options) option "retries" must be between 0 and 100
ValueError: KQueue::__construct(): Argument #2 ($options) option "retry_mode" must be "safe", "always" or "never"
ValueError: KQueue::__construct(): Argument #2 ($options) option "failover" must be "random" or "ordered"
ValueError: KQueue::__construct(): Argument #2 ($options) option "backoff_base" must be between 0 and 86400 seconds
ValueError: KQueue::__construct(): Argument #2 ($options) option "backoff_cap" must be between 0 and 86400 seconds
TypeError: KQueue::__construct(): Argument #2 ($options) option "eject_time" must be of type float, string given
TypeError: KQueue::__construct(): Argument #2 ($options) option "persistent" must be of type bool, array given
TypeError: KQueue::__construct(): Argument #2 ($options) option "persistent_id" must be of type string, stdClass given
ValueError: KQueue::__construct(): Argument #2 ($options) option "persistent_id" must be UTF-8 text of at most 255 bytes
ValueError: KQueue::__construct(): Argument #2 ($options) option "max_idle" must be between 0 and 86400 seconds
returned NULL
