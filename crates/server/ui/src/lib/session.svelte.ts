// Who is at the desk. A session that ended leaves the page as it is and asks for the password over
// it: what was being read or written is not lost.

import type { Me, Role } from './types';

const RANK: Record<Role, number> = { viewer: 0, analyst: 1, admin: 2 };

class Session {
  me = $state<Me | null>(null);
  hasExpired = $state(false);
  /** Grows with each login, so that what was refused loads again. */
  logins = $state(0);

  begun(me: Me): void {
    this.me = me;
    this.hasExpired = false;
    this.logins += 1;
  }

  expired(): void {
    if (this.me) this.hasExpired = true;
  }

  ended(): void {
    this.me = null;
    this.hasExpired = false;
  }

  may(role: Role): boolean {
    return this.me !== null && RANK[this.me.role] >= RANK[role];
  }
}

export const session = new Session();
