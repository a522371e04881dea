// A file of the user's, which wants the token to be had.

import { useState } from 'react';

import { Problem, sentenceOf } from '../api/problem';
import { token } from '../api/token';

interface Props {
  url: string;
  name: string;
}

/** Browsers read what is to be saved after the click. */
const KEPT_FOR = 60_000;

async function save({ url, name }: Props) {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token.get()}` } });
  if (!response.ok) throw await Problem.read(response);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_FOR);
}

export function Download({ url, name }: Props) {
  const [trouble, setTrouble] = useState('');
  return (
    <>
      <button
        type="button"
        className="chip"
        title="Download"
        onClick={() => {
          setTrouble('');
          save({ url, name }).catch((error: unknown) => setTrouble(sentenceOf(error)));
        }}
      >
        {name}
      </button>
      {trouble && (
        <span className="bad" role="alert">
          {trouble}
        </span>
      )}
    </>
  );
}
