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

export const get = (path) => call(path, { headers: { accept: "application/json" } });

export const post = (path, body = {}, headers = {}) =>
  call(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } });

/** Where to sign in again and come back from. */
export const signInPath = () => `/sign-in?next=${encodeURIComponent(location.pathname)}`;
