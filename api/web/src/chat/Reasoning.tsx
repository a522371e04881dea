// What the model thinks: open while it does, folded away afterwards.

import { useState } from 'react';

interface Props {
  text: string;
  streaming: boolean;
}

export function Reasoning({ text, streaming }: Props) {
  // The user's choice stands; until there is one, thoughts are open as long as they come.
  const [chosen, setChosen] = useState<boolean>();
  const open = chosen ?? streaming;
  return (
    <details className="reasoning" open={open}>
      <summary
        onClick={(event) => {
          event.preventDefault();
          setChosen(!open);
        }}
      >
        {streaming ? 'Thinking…' : 'Thoughts'}
      </summary>
      <p>{text}</p>
    </details>
  );
}
