/** Calls to the service. */

const PATIENCE_MS = 20_000;

/** The service could not be reached, or did not answer in time: whether it heard is not known. */
export class Unreachable extends Error {}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE_MS) });
    const isJson = (response.headers.get("content-type") ?? "").includes("json");
    return { status: response.status, ok: response.ok, data: isJson ? await response.json() : {} };
  } catch (error) {
    throw new Unreachable(String(error));
  }
}

const meta = document.querySelector('meta[name="csrf"]');
let token = meta?.content ?? "";

/** The header that shows that a page of this session asks. */
export const tokenHeader = () => ({ "x-csrf-token": token });

/** The address with the token in it, for what can send no header. */
export const withToken = (path) => `${path}${path.includes("?") ? "&" : "?"}csrf=${token}`;

export const get = (path) => call(path, { headers: { accept: "application/json" } });

export async function post(path, body = {}, headers = {}) {
  const send = () =>
    call(path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json", ...tokenHeader(), ...headers },
    });
  const result = await send();
  if (result.data.type !== "urn:winnow:problem:form-token") return result;
  // Somebody signed in anew, in another tab or after the session ended here: the page goes on with the new one.
  const fresh = await get("/form-token");
  if (!fresh.ok) return fresh;
  token = fresh.data.token;
  return send();
}

/** Where to sign in again and come back from. */
export const signInPath = () => `/sign-in?next=${encodeURIComponent(location.pathname)}`;
