--TEST--
The exception tree
--FILE--
<?php
foreach (['', 'Connection', 'Timeout', 'Server', 'Full', 'Auth', 'Push', 'Lost', 'Protocol'] as $name) {
    $class = new ReflectionClass("KQueue{$name}Exception");
    echo $class->getName(), ' < ', $class->getParentClass()->getName(), $class->isFinal() ? ' final' : '', "\n";
}
?>
--EXPECT--
KQueueException < RuntimeException
KQueueConnectionException < KQueueException
KQueueTimeoutException < KQueueConnectionException
KQueueServerException < KQueueException
KQueueFullException < KQueueServerException
KQueueAuthException < KQueueServerException
KQueuePushException < KQueueException
KQueueLostException < KQueueException
KQueueProtocolException < KQueueException
