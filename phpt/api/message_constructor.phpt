--TEST--
Messages come from reserve() only
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
outcome(fn () => new KQueue\Message());
outcome(fn () => (new ReflectionClass('KQueue\Message'))->newInstanceWithoutConstructor()->getBody());
?>
--EXPECT--
Error: Call to private KQueue\Message::__construct() from global scope
Error: The KQueue\Message object has not been correctly initialized by its constructor
