--TEST--
packaging/kqueue.ini has every setting, with its default
--FILE--
<?php
$file = file_get_contents(getenv('KQUEUE_ROOT') . '/packaging/kqueue.ini');
preg_match_all('/^;(kqueue\.\w+) = (.*)$/m', $file, $lines, PREG_SET_ORDER);
// PHP itself reads the values, as it would if their semicolons were removed.
$written = parse_ini_string(implode("\n", array_map(fn ($line) => substr($line[0], 1), $lines)), false, INI_SCANNER_NORMAL);
$real = array_map(fn ($setting) => $setting['global_value'], ini_get_all('kqueue'));
echo count($lines) === count($written) ? '' : "a setting is there twice\n";
foreach ($written + $real as $name => $_) {
    if (($written[$name] ?? null) !== ($real[$name] ?? null)) {
        echo $name, ': ', json_encode($written[$name] ?? 'missing'), ' in the file, ', json_encode($real[$name] ?? 'missing'), " in the extension\n";
    }
}
// What PHP reads of the file as it is: nothing but the line that loads the extension.
echo json_encode(parse_ini_string($file)), "\n";
?>
--EXPECT--
{"extension":"kqueue.so"}
