/* Gradio's lists open at any key, a moment later: one that is left with Tab would stay open over the page for good, and
   take the clicks that are meant for what is below it. Tab moves on; it is none of the list's business. */
document.addEventListener('keydown', (event) => {
  if (event.key === 'Tab' && event.target.matches('input[role=combobox]')) event.stopImmediatePropagation();
}, true);
