dnl The extension is a Rust crate, at the top of the repository: cargo builds it, see Makefile.frag. This file and phpize live down here because
dnl phpize makes a Makefile of its own.
PHP_ARG_ENABLE([kqueue],
  [whether to enable kqueue],
  [AS_HELP_STRING([--disable-kqueue], [Build nothing])],
  [yes])

if test "$PHP_KQUEUE" != "no"; then
  AC_PATH_PROG([CARGO], [cargo], [no])
  if test "$CARGO" = "no"; then
    AC_MSG_ERROR([cargo was not found. The extension is written in Rust: see https://rustup.rs, or set CARGO to the path of cargo])
  fi

  dnl An older cargo would complain about the edition, which helps nobody.
  AC_MSG_CHECKING([for Rust 1.89 or later])
  kqueue_rust=`$CARGO --version 2>/dev/null | $SED -n 's/^cargo 1\.\([[0-9]]*\)\..*/\1/p'`
  if test -z "$kqueue_rust" || test "$kqueue_rust" -lt 89; then
    AC_MSG_ERROR([`$CARGO --version 2>&1` is too old, or no Rust toolchain])
  fi
  AC_MSG_RESULT([1.$kqueue_rust])

  dnl The PHP that the crate is built for. It wants a path, and --with-php-config has a name if it is not given.
  KQUEUE_PHP_CONFIG=`command -v $PHP_CONFIG`

  PHP_SUBST([CARGO])
  PHP_SUBST([KQUEUE_PHP_CONFIG])
  PHP_MODULES="$PHP_MODULES \$(phplibdir)/kqueue.la"
  PHP_ADD_MAKEFILE_FRAGMENT([$abs_srcdir/Makefile.frag], [$abs_srcdir], [$abs_builddir])
fi
