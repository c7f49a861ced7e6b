--TEST--
A hand-made KQueuePushException has nothing stored and nothing failed
--FILE--
<?php
class Mine extends KQueuePushException {}
foreach (['KQueuePushException', 'Mine'] as $class) {
    $e = new $class('m', 3);
    var_dump($e->getStored(), $e->getFailed(), $e->getCode());
}
?>
--EXPECT--
array(0) {
}
array(0) {
}
int(3)
array(0) {
}
array(0) {
}
int(3)
