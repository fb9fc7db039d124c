# Small files by system calls, for which a shell starts programs. A runner keeps this open on a channel of its SSH
# connection. Each request is a line, "DEED NONCE LENGTH...", and as many bytes of each length. What is said about it
# is what the scripts of ssh_files.py and ssh_glances.py say, and both streams end with marks of the nonce, as with a
# shell (framing.py). A deed that is not as plain as it may be here is answered by "other": a shell has to do it.
use strict;
use Fcntl qw(O_WRONLY O_CREAT O_EXCL);
require IO;

my ($mark, $most) = @ARGV;    # most: bytes that a small file has
my %deeds = (look => \&look, put => \&put, write => sub { write_file('', @_) });
binmode $_ for *STDIN, *STDOUT, *STDERR;
say_all(*STDERR, "\x1e$mark;");
say_all(*STDOUT, "\x1e$mark$$ \n");

while (defined(my $line = <STDIN>)) {
    my ($deed, $nonce, @lengths) = split ' ', $line;
    my @words = map { word_of($_) } @lengths;
    my ($out, $complaint) = $deeds{$deed}->(@words);
    my $code = defined $complaint ? 1 : 0;
    say_all(*STDERR, ($complaint // '') . "\x1e$nonce;");
    say_all(*STDOUT, "$out\x1e$nonce$code;\x1e${nonce}ready\n");
}

sub word_of {
    my ($length) = @_;
    my $word = '';
    while (length $word < $length) {
        read(STDIN, $word, $length - length $word, length $word) or exit 1;
    }
    return $word;
}

sub say_all {
    my ($stream, $text) = @_;
    while (length $text) {
        my $told = syswrite($stream, $text) // exit 1;
        substr($text, 0, $told) = '';
    }
}

# As stat -c '%f %s %Y %u %g %U %G' tells them; none where there is nothing.
sub facts {
    my ($path, $followed) = @_;
    my @facts = $followed ? stat $path : lstat $path or return;
    my ($user, $group) = (scalar getpwuid $facts[4], scalar getgrgid $facts[5]);
    return sprintf '%x %d %d %d %d %s %s', @facts[2, 7, 9, 4, 5], $user // 'UNKNOWN', $group // 'UNKNOWN';
}

sub content {
    my ($path) = @_;
    open my $file, '<:raw', $path or return;
    local $/;
    return <$file> // '';
}

# What LOOK says.
sub look {
    my ($path, $above) = @_;
    my $own = facts($path);
    if (!defined $own) {
        my $complaint = "$!";
        my $folder = facts("$above/");
        return ("none\n" . (defined $folder ? "$folder\n" : ''), $complaint);
    }
    my $folder = facts("$above/") // return ('', "$!");
    if (-l $path) {
        my $target = readlink($path) // return ('', "$!");
        return "link\n$own\n$folder\n" . (facts($path, 1) // '') . "\n$target";
    }
    my $small = -f $path && -r _ && -s _ <= $most;
    return "there\n$own\n$folder\n" . ($small ? content($path) // '' : '');
}

# What PUT says. What is no small file is only looked at.
sub put {
    my ($path, $above, @how) = @_;
    my $data = $how[-1];
    if (!lstat $path) {
        return -d "$above/" ? write_file("new\n", $path, $above, @how) : look($path, $above);
    }
    return look($path, $above) if !-f _ || !-r _ || -s _ > $most;
    my $old = facts($path) // return 'other';
    my $content = content($path) // return 'other';
    return "same\n$old\n" if $content eq $data;
    return write_file("old\n$old\n$content", $path, $above, @how);
}

# Writes, and says what the file is like then. Only the owner of what is there may keep it the owner's.
sub write_file {
    my ($said, $path, $above, $beside, $mode, $umask, $chmod, $data) = @_;
    my @there = lstat $path;
    return 'other' if @there && !-f _ && !-l _;
    if (-f _) {
        my ($group) = split ' ', $);
        return 'other' if $there[4] != $> || $there[5] != $group;
        ($mode, $chmod) = (sprintf('%o', $there[2] & 07777), 'y') if $mode eq '';
    }
    umask oct $umask;
    return ($said, "$!") if !replace_file($path, $above, $beside, $chmod ? oct($mode eq '' ? 644 : $mode) : undef, $data);
    my $now = facts($path) // return ($said, "$!");
    return "$said$now\n";
}

# The content is on the disk before it takes its place, and the place after.
sub replace_file {
    my ($path, $above, $beside, $mode, $data) = @_;
    sysopen my $file, $beside, O_WRONLY | O_CREAT | O_EXCL, 0666 or return;
    binmode $file;
    my $done =
           write_all($file, $data)
        && (!defined $mode || chmod $mode, $file)
        && IO::Handle::sync($file)
        && close($file)
        && rename($beside, $path);
    if (!$done) {
        my $why = $!;
        unlink $beside;
        $! = $why;
        return;
    }
    if (open my $folder, '<', $above) { IO::Handle::sync($folder) }
    return 1;
}

sub write_all {
    my ($file, $data) = @_;
    my $at = 0;
    while ($at < length $data) {
        $at += syswrite($file, $data, length($data) - $at, $at) // return;
    }
    return 1;
}
