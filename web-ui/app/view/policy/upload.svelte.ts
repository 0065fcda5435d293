// One new version from the chosen file or reference to the proxy's answer: how far it is, and why it was refused.

import { ApiError, pull, upload, type Parcel, type Rollout } from '../../api/client';
import type { Slot } from '../../api/contract';
import { dashboard } from '../../state/dashboard.svelte';
import { activeOf, versionOf } from '../../state/policies';

export type UploadState =
  | { phase: 'idle' }
  | { phase: 'sending'; what: string; share: number }
  | { phase: 'checking'; what: string }
  | { phase: 'pulling'; what: string }
  | { phase: 'refused'; what: string; reason: string }
  | { phase: 'done'; outcome: Outcome | null };

/** What a change has come to, in one sentence, and the version that it speaks of. */
export interface Outcome {
  words: string;
  version: number;
}

export class Upload {
  state = $state.raw<UploadState>({ phase: 'idle' });

  get busy(): boolean {
    return this.state.phase === 'sending' || this.state.phase === 'checking' || this.state.phase === 'pulling';
  }

  forget(): void {
    if (!this.busy) this.state = { phase: 'idle' };
  }

  send(slot: string, file: File, parcel: Omit<Parcel, 'component'>): Promise<Slot | null> {
    const what = file.name;
    return this.#carry({ phase: 'sending', what, share: 0 }, parcel.rollout, () =>
      upload(slot, { ...parcel, component: file }, (share) => {
        this.state = share < 1 ? { phase: 'sending', what, share } : { phase: 'checking', what };
      }),
    );
  }

  pull(slot: string, reference: string, rollout: Rollout): Promise<Slot | null> {
    return this.#carry({ phase: 'pulling', what: reference }, rollout, () => pull(slot, reference, rollout));
  }

  async #carry(begun: UploadState & { what: string }, rollout: Rollout, act: () => Promise<Slot>): Promise<Slot | null> {
    if (this.busy) return null;
    this.state = begun;
    try {
      const slot = await act();
      dashboard.slotChanged(slot);
      this.state = { phase: 'done', outcome: outcomeOf(slot, rollout) };
      return slot;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) dashboard.reconnect();
      this.state = { phase: 'refused', what: begun.what, reason: error instanceof Error ? error.message : String(error) };
      return null;
    }
  }
}

export function outcomeOf(slot: Slot, rollout: Rollout): Outcome | null {
  const version = rollout === 'all' ? activeOf(slot) : versionOf(slot, slot.canary?.version ?? null);
  if (version === undefined) return null;
  const named = `${version.name} ${version.version} (#${version.number})`;
  return { words: rollout === 'all' ? `${named} is active.` : `${named} takes ${rollout.percent} % of requests.`, version: version.number };
}
