# The portal of LemonLDAP::NG, and a file of the statuses of its token endpoint. It draws no captchas, which take more packages.
use strict;
use warnings;
use Lemonldap::NG::Portal::Main;

{
    package Lemonldap::NG::Portal::Captcha::None;
    use Mouse;
    extends 'Lemonldap::NG::Portal::Main::Plugin';
    sub init { 1 }
}
$INC{'Lemonldap/NG/Portal/Captcha/None.pm'} = 1;

my $portal = Lemonldap::NG::Portal::Main->run( {} );
sub {
    my $answer = $portal->( my $env = shift );
    if ( $env->{PATH_INFO} eq '/oauth2/token' ) {
        open my $statuses, '>>', $ENV{STATUSES} or die $!;
        print {$statuses} "$answer->[0]\n";
        close $statuses;
    }
    return $answer;
};
