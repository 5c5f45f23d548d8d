/** Leases of tasks: renewed while somebody is here, given back when the page is left. */

import { post, withToken } from "./http.js";

/** After so long without a key or a touch leases are left to lapse, so that others get the images. */
export const AWAY_MS = 15 * 60_000;

export const leaseOf = ({ task_id, fence }) => ({ task_id, fence });

export class Leases {
  constructor(project) {
    this.base = `/v1/projects/${project}/leases`;
    this.remembered = `winnow.leases.${project}`;
  }

  /** What the page that was here before in this tab held: it may have had no time to give it back. */
  async giveBackRemembered() {
    const left = JSON.parse(sessionStorage.getItem(this.remembered) ?? "[]");
    sessionStorage.removeItem(this.remembered);
    if (left.length) await this.giveBack(left);
  }

  giveBack(leases) {
    return post(`${this.base}/release`, { leases: leases.map(leaseOf) }).catch(() => null);
  }

  /** The names of those of `leases` that are lost; null if nobody could be asked. */
  async renew(leases) {
    const result = await post(`${this.base}/renew`, { leases: leases.map(leaseOf) }).catch(() => null);
    if (!result?.ok) return null;
    const held = new Set(result.data.held);
    return new Set(leases.map((one) => one.task_id).filter((id) => !held.has(id)));
  }

  /**
   * The page is being left. If it is only reloaded, the new page may ask before this has arrived: so it is left a
   * note to give the same leases back first, after which this, being late, changes nothing.
   */
  leave(held) {
    const leases = held.map(leaseOf);
    if (!leases.length) return;
    sessionStorage.setItem(this.remembered, JSON.stringify(leases));
    navigator.sendBeacon(withToken(`${this.base}/release`), new Blob([JSON.stringify({ leases })], { type: "application/json" }));
  }
}
