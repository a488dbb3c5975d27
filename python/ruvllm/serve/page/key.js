// The user's key for the server. It lives as long as the tab, or in this browser where the user wants that.

const NAME = "ruvllm.key";

/** The key, or null. */
export function currentKey() {
  return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
}

/** Whether this browser keeps the key beyond the tab. */
export function isKeyRemembered() {
  return localStorage.getItem(NAME) !== null;
}

/** Takes a key, or forgets it where it is empty. */
export function setKey(key, remembered) {
  sessionStorage.removeItem(NAME);
  localStorage.removeItem(NAME);
  if (key) (remembered ? localStorage : sessionStorage).setItem(NAME, key);
}
