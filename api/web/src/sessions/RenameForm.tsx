// Another name for a chat.

interface Props {
  title: string;
  onRename: (title: string) => void;
  onCancel: () => void;
}

export function RenameForm({ title, onRename, onCancel }: Props) {
  return (
    <form
      className="rename"
      onSubmit={(event) => {
        event.preventDefault();
        onRename(String(new FormData(event.currentTarget).get('title')));
      }}
      onKeyDown={({ key }) => {
        if (key === 'Escape') onCancel();
      }}
    >
      <input
        name="title"
        aria-label="Title"
        defaultValue={title}
        maxLength={256}
        required
        autoFocus
        onFocus={({ target }) => target.select()}
        onBlur={onCancel}
      />
    </form>
  );
}
