// Lets an element take one dropped file.

import type { Attachment } from 'svelte/attachments';

export interface DropTarget {
  /** A file hangs over the element, or no longer does. */
  over(now: boolean): void;
  file(file: File): void;
}

export function dropTarget(target: DropTarget): Attachment<HTMLElement> {
  return (element) => {
    // Enter and leave also fire for every child crossed on the way: only their balance tells.
    let depth = 0;
    const moved = (by: number) => {
      depth = Math.max(0, depth + by);
      target.over(depth > 0);
    };
    const enter = (event: DragEvent) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      moved(1);
    };
    const over = (event: DragEvent) => {
      if (carriesFile(event)) event.preventDefault();
    };
    const leave = () => moved(-1);
    const drop = (event: DragEvent) => {
      const file = event.dataTransfer?.files[0];
      depth = 0;
      target.over(false);
      if (file === undefined) return;
      event.preventDefault();
      target.file(file);
    };
    element.addEventListener('dragenter', enter);
    element.addEventListener('dragover', over);
    element.addEventListener('dragleave', leave);
    element.addEventListener('drop', drop);
    return () => {
      element.removeEventListener('dragenter', enter);
      element.removeEventListener('dragover', over);
      element.removeEventListener('dragleave', leave);
      element.removeEventListener('drop', drop);
    };
  };
}

function carriesFile(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes('Files') ?? false;
}
