// What a screen reader says of an answer: that it began, and then what it was.

import { useEffect, useState } from 'react';

interface Props {
  busy: boolean;
  /** The newest answer. */
  text: string;
}

/** Longer ones can be read in the conversation. */
const LONGEST = 300;

export function Announcer({ busy, text }: Props) {
  const [words, setWords] = useState('');
  const [wasBusy, setWasBusy] = useState(busy);
  useEffect(() => {
    if (busy === wasBusy) return;
    setWasBusy(busy);
    if (busy) setWords('Copilot is answering.');
    else setWords(text.length > LONGEST ? `Copilot has answered: ${text.slice(0, LONGEST)}…` : `Copilot has answered: ${text}`);
  }, [busy, wasBusy, text]);
  return (
    <p className="visually-hidden" role="status">
      {words}
    </p>
  );
}
