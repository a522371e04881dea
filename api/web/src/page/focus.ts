// Where the keyboard goes.

/** Not on a phone: its keyboard would cover half the page before anybody wants to write. */
export function focusIfKeyboard(element: HTMLElement | null) {
  if (matchMedia('(hover: hover)').matches) element?.focus();
}
