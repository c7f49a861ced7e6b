--TEST--
An exception from __toString or an error handler is passed on
--FILE--
<?php
require __DIR__ . '/../utils/server.inc';
$q = new KQueue('127.0.0.1:1');
$thrower = new class () {
    public function __toString(): string { throw new DomainException('from __toString'); }
};
outcome(fn () => $q->push('q', $thrower));
outcome(fn () => $q->push($thrower, 'b'));
outcome(fn () => $q->pushMany('q', [$thrower]));
outcome(fn () => $q->reserve([$thrower]));
outcome(fn () => new KQueue(null, ['persistent_id' => $thrower]));
set_error_handler(fn ($level, $text) => throw new DomainException($text));
outcome(fn () => $q->push('q', null));
outcome(fn () => $q->push('q', 'b', 1.5));
?>
--EXPECT--
DomainException: from __toString
DomainException: from __toString
DomainException: from __toString
DomainException: from __toString
DomainException: from __toString
DomainException: KQueue::push(): Passing null to parameter #2 ($body) of type string is deprecated
DomainException: Implicit conversion from float 1.5 to int loses precision
