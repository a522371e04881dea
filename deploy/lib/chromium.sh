# shellcheck shell=bash
# Chromium for the browser tests: CHROMIUM, or the system's, or Debian's package.

ensure_chromium() {
  if chromium_is_here; then return; fi
  can_install || die 'the browser tests need Chromium: install it, or set CHROMIUM to it, or leave these tests out with COPILOT_SKIP_BROWSER=1'
  install_packages chromium
  chromium_is_here || die 'the package chromium has no /usr/bin/chromium: set CHROMIUM to it'
}

chromium_is_here() { [ -x "${CHROMIUM:-}" ] || [ -x /usr/bin/chromium ] || [ -x /usr/bin/google-chrome ]; }
