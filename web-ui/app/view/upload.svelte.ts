// One upload from the chosen file to the proxy's answer: how far it is, and why it was refused.

import { ApiError, upload } from '../api/client';
import type { Slot } from '../api/contract';
import { dashboard } from '../state/dashboard.svelte';
import { activeOf } from '../state/policies';

export type UploadState =
  | { phase: 'idle' }
  | { phase: 'sending'; file: string; share: number }
  | { phase: 'checking'; file: string }
  | { phase: 'refused'; file: string; reason: string }
  | { phase: 'active'; file: string; what: string };

export class Upload {
  state = $state.raw<UploadState>({ phase: 'idle' });

  get busy(): boolean {
    return this.state.phase === 'sending' || this.state.phase === 'checking';
  }

  forget(): void {
    if (!this.busy) this.state = { phase: 'idle' };
  }

  async send(slot: string, component: File): Promise<Slot | null> {
    if (this.busy) return null;
    const file = component.name;
    this.state = { phase: 'sending', file, share: 0 };
    try {
      const changed = await upload(slot, component, (share) => {
        this.state = share < 1 ? { phase: 'sending', file, share } : { phase: 'checking', file };
      });
      dashboard.slotChanged(changed);
      const active = activeOf(changed);
      this.state = { phase: 'active', file, what: active ? `${active.name} ${active.version}` : file };
      return changed;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) dashboard.reconnect();
      this.state = { phase: 'refused', file, reason: error instanceof Error ? error.message : String(error) };
      return null;
    }
  }
}
