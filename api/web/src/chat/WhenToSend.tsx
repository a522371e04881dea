// What a message does to the answer that is being written.

import type { WhenBusy } from './queue';

interface Props {
  value: WhenBusy;
  onChange: (value: WhenBusy) => void;
}

const CHOICES: { value: WhenBusy; name: string }[] = [
  { value: 'enqueue', name: 'after this answer' },
  { value: 'steer', name: 'into this answer' },
  { value: 'interrupt', name: 'instead of this answer' },
];

export function WhenToSend({ value, onChange }: Props) {
  return (
    <select aria-label="When to send" value={value} onChange={({ target }) => onChange(target.value as WhenBusy)}>
      {CHOICES.map((choice) => (
        <option key={choice.value} value={choice.value}>
          {choice.name}
        </option>
      ))}
    </select>
  );
}
