--TEST--
Reflection shows exactly what php/kqueue.stub.php declares
--FILE--
<?php
$stub = file_get_contents(getenv('KQUEUE_ROOT') . '/php/kqueue.stub.php');
preg_match_all('/^(?:final )?class (\w+)/m', $stub, $names);

// The stub is loaded under other names, and these are undone where they show.
$renamed = preg_replace('/^(final )?class (\w+)/m', '$1class Stub$2', $stub);
$renamed = preg_replace('/^namespace KQueue\b/m', 'namespace StubKQueue', $renamed);
$renamed = preg_replace('/extends (KQueue\w+)/', 'extends Stub$1', $renamed);
eval(substr($renamed, strlen('<?php')));

function describe(string $class): array
{
    $reflection = new ReflectionClass($class);
    $lines = [];
    foreach ($reflection->getMethods() as $method) {
        if ($method->getDeclaringClass()->getName() !== $class) {
            continue;
        }
        $parameters = [];
        foreach ($method->getParameters() as $parameter) {
            $parameters[] = $parameter->getType() . ' ' . ($parameter->isPassedByReference() ? '&' : '')
                . ($parameter->isVariadic() ? '...' : '') . '$' . $parameter->getName()
                . ($parameter->isDefaultValueAvailable() ? ' = ' . json_encode($parameter->getDefaultValue()) : '')
                . ($parameter->isOptional() ? ' (optional)' : '');
        }
        $lines[] = implode(' ', Reflection::getModifierNames($method->getModifiers()))
            . " {$method->getName()}(" . implode(', ', $parameters) . ')'
            . ($method->hasReturnType() ? ": {$method->getReturnType()}" : '');
    }
    foreach ($reflection->getProperties() as $property) {
        if ($property->getDeclaringClass()->getName() === $class) {
            $lines[] = implode(' ', Reflection::getModifierNames($property->getModifiers()))
                . " {$property->getType()} \${$property->getName()}";
        }
    }
    foreach ($reflection->getReflectionConstants() as $constant) {
        if ($constant->getDeclaringClass()->getName() === $class) {
            $lines[] = implode(' ', Reflection::getModifierNames($constant->getModifiers()))
                . " const {$constant->getName()} = " . json_encode($constant->getValue());
        }
    }
    sort($lines);
    $parent = $reflection->getParentClass();
    $lines[] = 'extends ' . ($parent ? $parent->getName() : 'nothing');
    $lines[] = implode(' ', ['implements', ...$reflection->getInterfaceNames()]);
    $lines[] = implode(' ', ['modifiers', ...Reflection::getModifierNames($reflection->getModifiers())]);
    return str_replace(['StubKQueue', 'StubMessage'], ['KQueue', 'Message'], $lines);
}

foreach ($names[1] as $name) {
    [$real, $declared] = str_starts_with($name, 'Message')
        ? ["KQueue\\$name", "StubKQueue\\Stub$name"]
        : [$name, "Stub$name"];
    $differences = array_merge(
        array_map(fn ($line) => "only in the extension: $line", array_diff(describe($real), describe($declared))),
        array_map(fn ($line) => "only in the stub: $line", array_diff(describe($declared), describe($real)))
    );
    echo $real, ': ', $differences ? implode("\n", $differences) : 'same', "\n";
}
$known = array_map('strtolower', $names[1]);
foreach ((new ReflectionExtension('kqueue'))->getClassNames() as $class) {
    if (!in_array(strtolower(basename(strtr($class, '\\', '/'))), $known, true)) {
        echo "not in the stub: $class\n";
    }
}
// There is nothing but classes.
$extension = new ReflectionExtension('kqueue');
echo json_encode([array_keys($extension->getFunctions()), get_defined_constants(true)['kqueue'] ?? []]), "\n";
?>
--EXPECT--
KQueue: same
KQueueException: same
KQueueConnectionException: same
KQueueTimeoutException: same
KQueueServerException: same
KQueueFullException: same
KQueueAuthException: same
KQueuePushException: same
KQueueLostException: same
KQueueProtocolException: same
KQueue\Message: same
KQueue\Messages: same
[[],[]]
