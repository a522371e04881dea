// Opens the browser's choice of files.

import { useRef } from 'react';

interface Props {
  onChoose: (files: File[]) => void;
}

export function AttachButton({ onChoose }: Props) {
  const picker = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" className="quiet" onClick={() => picker.current?.click()}>
        Attach
      </button>
      <input
        ref={picker}
        type="file"
        multiple
        hidden
        aria-label="Files"
        onChange={({ target }) => {
          onChoose([...(target.files ?? [])]);
          // The same file may be chosen again.
          target.value = '';
        }}
      />
    </>
  );
}
