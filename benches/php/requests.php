<?php
/**
 * Nanoseconds of the extension's part in the begin and the end of a request that does not use it: its own functions, which the engine calls then, called as often as wanted
 * through FFI. FFI's part is told by a call of a function that does nothing; the median of rounds counts.
 */
const ROUNDS = 21;
const CALLS = 20000;

$engine = FFI::cdef('
    typedef struct { void *pointer; uint32_t type; uint32_t other; } zval;
    typedef struct {
        unsigned short size; unsigned int api; unsigned char debug; unsigned char zts;
        void *ini_entries; void *dependencies; const char *name; void *functions;
        int (*module_startup)(int, int); int (*module_shutdown)(int, int);
        int (*request_startup)(int, int); int (*request_shutdown)(int, int);
        void *info; const char *version; size_t globals_size; void *globals; void *globals_constructor; void *globals_destructor;
        int (*post_deactivate)(void);
    } module;
    extern char module_registry[1];
    zval *zend_hash_str_find(const void *table, const char *key, size_t length);
    int abs(int number);
');
$found = $engine->zend_hash_str_find(FFI::addr($engine->module_registry), 'kqueue', 6) ?? exit('kqueue is not loaded');
$module = $engine->cast('module *', $found->pointer);
FFI::string($module->name) === 'kqueue' || exit('not the module entry that is known here');
$number = 0;

function measured(callable $once): float
{
    $rounds = [];
    for ($round = 0; $round < ROUNDS; $round++) {
        $rounds[] = $once();
    }
    sort($rounds);
    return $rounds[intdiv(ROUNDS, 2)] / CALLS;
}

$hooks = array_filter([$module->request_startup, $module->request_shutdown], fn ($hook) => $hook !== null && !FFI::isNull($hook));
$cost = 0;
foreach ($hooks as $hook) {
    $cost += measured(function () use ($hook) {
        $begin = hrtime(true);
        for ($n = 0; $n < CALLS; $n++) {
            $hook(1, 0);
        }
        return hrtime(true) - $begin;
    });
}
if ($module->post_deactivate !== null && !FFI::isNull($module->post_deactivate)) {
    $hook = $module->post_deactivate;
    $cost += measured(function () use ($hook) {
        $begin = hrtime(true);
        for ($n = 0; $n < CALLS; $n++) {
            $hook();
        }
        return hrtime(true) - $begin;
    });
}
$nothing = measured(function () use ($engine) {
    $begin = hrtime(true);
    for ($n = 0; $n < CALLS; $n++) {
        $engine->abs(1);
    }
    return hrtime(true) - $begin;
});
echo count($hooks), ' ', $cost, ' ', $nothing, "\n";
