// @ts-check
/** Elements, made and found. Text is always text: nothing here parses HTML. */

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * @param {string} tag @param {Record<string, string>} [attributes] @param {(Node | string)[]} children
 * @returns {any}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Writes only what changed. @param {any} element @param {string} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {any} element @param {string} name @param {string | null} value null removes it */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * A row of buttons of which one is pressed.
 * @param {HTMLElement} group @param {string[]} names @param {(name: string) => void} chosen
 * @returns {(name: string) => void} presses one from outside
 */
export function choice(group, names, chosen) {
  const press = (/** @type {string} */ name) => {
    for (const each of group.children) mark(each, 'aria-pressed', String(each.textContent === name));
  };
  for (const name of names) {
    const button = make('button', { type: 'button', 'aria-pressed': 'false' }, name);
    button.addEventListener('click', () => {
      press(name);
      chosen(name);
    });
    group.append(button);
  }
  return press;
}
